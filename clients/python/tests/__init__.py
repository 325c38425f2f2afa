"""Tests of the package, against a real router: ``order-router dev``, or servers and workers of their own."""
