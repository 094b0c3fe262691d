//! The messages of channels, as the rest of Hearth uses them.

use async_trait::async_trait;

use crate::StoreFailure;
use crate::embedded::disk::transacted;
use crate::embedded::events::EmbeddedEvents;
use crate::message::{Message, MessageCounts, MessageStore, Received, SendError};

#[async_trait]
impl MessageStore for EmbeddedEvents {
    async fn send(&self, message: Message) -> Result<u64, SendError> {
        self.off_thread(format!("send to {}", message.channel), |shared, operation| {
            shared.messages.check_room(&message.channel)?;
            let sending = shared.messages.prepare(&shared.disk, &shared.payloads, vec![message])?;
            let written = shared.messages.tree().transaction(|messages| {
                sending.write(messages)?;
                Ok(())
            });
            transacted(operation, written)?;
            shared.disk.commit(operation)?;
            let number = sending.last_number();
            sending.done().into_iter().for_each(|place| shared.payloads.remove(place));
            shared.arrived.notify_waiters();
            Ok(number)
        })
        .await
    }

    async fn receive(
        &self,
        channel: &str,
        now_unix_ms: u64,
        hidden_until_unix_ms: u64,
        limit: usize,
    ) -> Result<Vec<Received>, StoreFailure> {
        let channel = channel.to_owned();
        self.off_thread(format!("receive from {channel}"), move |shared, _| {
            let receipts = shared.messages.channels().receive(&channel, now_unix_ms, hidden_until_unix_ms, limit);
            let read = receipts.into_iter().filter_map(|receipt| {
                let loaded = shared.loaded_message(&channel, receipt.number).transpose()?;
                Some(loaded.map(|message| Received {
                    number: receipt.number,
                    message,
                    receive_count: receipt.receive_count,
                    first_received_unix_ms: receipt.first_received_unix_ms,
                }))
            });
            read.collect()
        })
        .await
    }

    async fn peek(&self, channel: &str, after: Option<u64>, limit: usize) -> Result<Vec<(u64, Message)>, StoreFailure> {
        let channel = channel.to_owned();
        self.off_thread(format!("look at {channel}"), move |shared, _| {
            let first = after.map_or(0, |after| after.saturating_add(1));
            let numbers: Vec<u64> = {
                let channels = shared.messages.channels();
                channels.numbers(&channel).filter(|number| *number >= first).take(limit).collect()
            };
            let read = numbers.into_iter().filter_map(|number| {
                let loaded = shared.loaded_message(&channel, number).transpose()?;
                Some(loaded.map(|message| (number, message)))
            });
            read.collect()
        })
        .await
    }

    async fn delete(&self, channel: &str, number: u64) -> Result<bool, StoreFailure> {
        Ok(self.delete_messages(channel, vec![number]).await? > 0)
    }

    async fn hide_until(&self, channel: &str, number: u64, unix_ms: u64) -> Result<bool, StoreFailure> {
        let found = self.0.messages.channels().hide_until(channel, number, unix_ms);
        if found {
            self.0.arrived.notify_waiters();
        }
        Ok(found)
    }

    async fn purge(&self, channel: &str) -> Result<usize, StoreFailure> {
        let numbers = self.0.messages.channels().numbers(channel).collect();
        self.delete_messages(channel, numbers).await
    }

    async fn counts(&self, channel: &str, now_unix_ms: u64) -> Result<MessageCounts, StoreFailure> {
        Ok(self.0.messages.channels().counts(channel, now_unix_ms))
    }

    async fn arrival(&self) {
        self.0.arrived.notified().await;
    }
}

impl EmbeddedEvents {
    async fn delete_messages(&self, channel: &str, numbers: Vec<u64>) -> Result<usize, StoreFailure> {
        let channel = channel.to_owned();
        self.off_thread(format!("delete messages of {channel}"), move |shared, _| {
            let places = shared.messages.delete(&shared.disk, &channel, &numbers)?;
            let deleted = places.len();
            places.into_iter().for_each(|place| shared.payloads.remove(place));
            Ok(deleted)
        })
        .await
    }
}
