#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| order_router_fuzz::checks::venue_requests(data));
