//! The worker of the floor: it answers each order after the messages that a router cannot avoid.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, ensure};
use async_nats::jetstream::{self, consumer::pull, stream};
use async_nats::{Client, HeaderMap, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use redis::Script;
use redis::aio::ConnectionManager;
use tokio::sync::{Semaphore, mpsc};

use crate::Way;
use crate::servers::Addresses;

const JOURNAL: &str = "FLOOR_JOURNAL";
const JOURNAL_SUBJECT: &str = "floor.journal.orders";
const QUEUE: &str = "FLOOR_QUEUE";
const QUEUE_SUBJECT: &str = "floor.queue.orders";
/// The most orders of one batch, and batches in flight.
const BATCH_MAX: usize = 256;
const BATCHES_IN_FLIGHT: usize = 4;
/// Orders that wait for a batch.
const WAITING_MAX: usize = 8_192;
/// Deliveries of the work queue in flight.
const DELIVERIES_MAX: i64 = 4_096;

/// Reserves: three sums move, the order's record is written.
const RESERVE: &str = "
for at = 2, #KEYS do
  if redis.call('INCRBY', KEYS[at], ARGV[1]) > 9007199254740991 then return 0 end
end
redis.call('HSET', KEYS[1], 'stage', 'claimed', 'document', ARGV[2])
redis.call('PEXPIRE', KEYS[1], 60000)
return 1";
/// Settles: the record gets its report, three sums move.
const SETTLE: &str = "
redis.call('HSET', KEYS[1], 'stage', 'ended', 'document', ARGV[2])
for at = 2, #KEYS do redis.call('INCRBY', KEYS[at], ARGV[1]) end
return 1";
/// One step of many orders: shared sums move once, each order's record is written.
const STEP_OF_BATCH: &str = "
local orders = #ARGV / 2
for at = 1, #KEYS do redis.call('INCRBY', KEYS[at], orders) end
for at = 1, #ARGV, 2 do redis.call('SET', ARGV[at], ARGV[at + 1], 'PX', 60000) end
return orders";
const SUMS: [&str; 3] = ["floor:notional", "floor:position", "floor:open_orders"];

/// What every task of the worker shares.
struct Worker {
    client: Client,
    jetstream: jetstream::Context,
    redis: ConnectionManager,
    reserve: Script,
    settle: Script,
    step_of_batch: Script,
    appends_atomic: bool,
    run: uuid::Uuid,
    orders: AtomicU64,
}

/// Creates the streams and serves every way until the process is killed. Prints `ready` first.
pub async fn serve(addresses: &Addresses, appends_atomic: bool) -> anyhow::Result<()> {
    let client = async_nats::connect(&addresses.nats).await.context("NATS")?;
    let redis = redis::Client::open(addresses.redis.as_str())?
        .get_connection_manager()
        .await?;
    let worker = Arc::new(Worker {
        jetstream: jetstream::new(client.clone()),
        client,
        redis,
        reserve: Script::new(RESERVE),
        settle: Script::new(SETTLE),
        step_of_batch: Script::new(STEP_OF_BATCH),
        appends_atomic,
        run: uuid::Uuid::new_v4(),
        orders: AtomicU64::new(0),
    });
    for script in [&worker.reserve, &worker.settle, &worker.step_of_batch] {
        script.load_async(&mut worker.redis.clone()).await?;
    }
    let queue = create_streams(&worker).await?;
    tokio::spawn(serve_direct(worker.clone()));
    tokio::spawn(serve_group(worker.clone()));
    tokio::spawn(accept_durable(worker.clone()));
    tokio::spawn(serve_durable(worker.clone(), queue));
    worker.client.flush().await?;
    println!("ready");
    std::future::pending().await
}

async fn create_streams(worker: &Worker) -> anyhow::Result<stream::Stream> {
    for name in [JOURNAL, QUEUE] {
        // The streams of a run before; absent ones are no error.
        let _ = worker.jetstream.delete_stream(name).await;
    }
    let journal = stream::Config {
        name: JOURNAL.to_owned(),
        subjects: vec![JOURNAL_SUBJECT.to_owned()],
        allow_atomic_publish: worker.appends_atomic,
        ..Default::default()
    };
    worker.jetstream.create_stream(journal).await?;
    let queue = stream::Config {
        name: QUEUE.to_owned(),
        subjects: vec![QUEUE_SUBJECT.to_owned()],
        retention: stream::RetentionPolicy::WorkQueue,
        ..Default::default()
    };
    Ok(worker.jetstream.create_stream(queue).await?)
}

impl Worker {
    fn order_key(&self) -> String {
        let number = self.orders.fetch_add(1, Ordering::Relaxed);
        format!("floor:order:{}:{number}", self.run.simple())
    }

    /// Reserves and settles one order, and appends its report to the journal.
    async fn execute(&self, body: &Bytes) -> anyhow::Result<()> {
        let key = self.order_key();
        for script in [&self.reserve, &self.settle] {
            let mut call = script.key(&key);
            for sum in SUMS {
                call.key(sum);
            }
            let done: i64 = call.arg(1).arg(&body[..]).invoke_async(&mut self.redis.clone()).await?;
            ensure!(done == 1, "a sum of {key} is beyond the exact range");
        }
        let append = self
            .jetstream
            .publish_with_headers(JOURNAL_SUBJECT, message_id(&key), body.clone());
        append.await?.await?;
        Ok(())
    }

    /// The same for many orders at once.
    async fn execute_batch(&self, batch: &[Message]) -> anyhow::Result<()> {
        let keys: Vec<String> = batch.iter().map(|_| self.order_key()).collect();
        for _step in ["reserve", "settle"] {
            let mut call = self.step_of_batch.prepare_invoke();
            for sum in SUMS {
                call.key(sum);
            }
            for (key, message) in keys.iter().zip(batch) {
                call.arg(key).arg(&message.payload[..]);
            }
            let _orders: i64 = call.invoke_async(&mut self.redis.clone()).await?;
        }
        if self.appends_atomic && batch.len() > 1 {
            return self.append_atomically(&keys, batch).await;
        }
        let mut acknowledgements = Vec::with_capacity(batch.len());
        for (key, message) in keys.iter().zip(batch) {
            let append = self
                .jetstream
                .publish_with_headers(JOURNAL_SUBJECT, message_id(key), message.payload.clone());
            acknowledgements.push(append.await?);
        }
        for acknowledgement in acknowledgements {
            acknowledgement.await?;
        }
        Ok(())
    }

    async fn append_atomically(&self, keys: &[String], batch: &[Message]) -> anyhow::Result<()> {
        let batch_id = uuid::Uuid::new_v4().simple().to_string();
        for (index, (key, message)) in keys.iter().zip(batch).enumerate() {
            let mut headers = message_id(key);
            headers.insert("Nats-Batch-Id", batch_id.as_str());
            headers.insert("Nats-Batch-Sequence", (index + 1).to_string().as_str());
            if index + 1 < batch.len() {
                self.client
                    .publish_with_headers(JOURNAL_SUBJECT, headers, message.payload.clone())
                    .await?;
                continue;
            }
            headers.insert("Nats-Batch-Commit", "1");
            let reply = self
                .client
                .request_with_headers(JOURNAL_SUBJECT, headers, message.payload.clone())
                .await?;
            let text = String::from_utf8_lossy(&reply.payload);
            ensure!(!text.contains("\"error\""), "the journal refused a batch: {text}");
        }
        Ok(())
    }

    async fn reply(&self, message: Message) -> anyhow::Result<()> {
        let subject = message.reply.context("a request names its reply subject")?;
        Ok(self.client.publish(subject, message.payload).await?)
    }
}

fn message_id(key: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, key);
    headers
}

async fn serve_direct(worker: Arc<Worker>) -> anyhow::Result<()> {
    let mut requests = worker
        .client
        .queue_subscribe(Way::Direct.subject(), "floor".to_owned())
        .await?;
    while let Some(message) = requests.next().await {
        let worker = worker.clone();
        tokio::spawn(async move {
            worker.execute(&message.payload).await?;
            worker.reply(message).await
        });
    }
    Ok(())
}

async fn serve_group(worker: Arc<Worker>) -> anyhow::Result<()> {
    let mut requests = worker
        .client
        .queue_subscribe(Way::Group.subject(), "floor".to_owned())
        .await?;
    let (sender, mut waiting) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        while let Some(message) = requests.next().await {
            if sender.send(message).await.is_err() {
                return;
            }
        }
    });
    let places = Arc::new(Semaphore::new(BATCHES_IN_FLIGHT));
    loop {
        let place = places.clone().acquire_owned().await?;
        let mut batch = Vec::with_capacity(BATCH_MAX);
        if waiting.recv_many(&mut batch, BATCH_MAX).await == 0 {
            return Ok(());
        }
        let worker = worker.clone();
        tokio::spawn(async move {
            worker.execute_batch(&batch).await?;
            for message in batch {
                worker.reply(message).await?;
            }
            drop(place);
            anyhow::Ok(())
        });
    }
}

/// Publishes each order to the work queue; the caller's reply subject travels in a header, since JetStream takes the
/// message's own for its acknowledgement.
async fn accept_durable(worker: Arc<Worker>) -> anyhow::Result<()> {
    let mut requests = worker
        .client
        .queue_subscribe(Way::Durable.subject(), "floor".to_owned())
        .await?;
    while let Some(message) = requests.next().await {
        let worker = worker.clone();
        tokio::spawn(async move {
            let mut headers = HeaderMap::new();
            headers.insert("Reply-To", message.reply.context("a reply subject")?.as_str());
            worker
                .jetstream
                .publish_with_headers(QUEUE_SUBJECT, headers, message.payload)
                .await?
                .await?;
            anyhow::Ok(())
        });
    }
    Ok(())
}

async fn serve_durable(worker: Arc<Worker>, queue: stream::Stream) -> anyhow::Result<()> {
    let consumer = queue
        .create_consumer(pull::Config {
            durable_name: Some("floor".to_owned()),
            max_ack_pending: DELIVERIES_MAX,
            ..Default::default()
        })
        .await?;
    let mut deliveries = consumer.stream().max_messages_per_batch(512).messages().await?;
    while let Some(delivery) = deliveries.next().await {
        let (delivery, worker) = (delivery?, worker.clone());
        tokio::spawn(async move {
            worker.execute(&delivery.payload).await?;
            let reply_to = delivery.headers.as_ref().and_then(|headers| headers.get("Reply-To"));
            let subject = reply_to
                .context("a delivery names its reply subject")?
                .as_str()
                .to_owned();
            worker.client.publish(subject, delivery.payload.clone()).await?;
            delivery
                .ack()
                .await
                .map_err(|error| anyhow::anyhow!("acknowledging: {error}"))
        });
    }
    Ok(())
}
