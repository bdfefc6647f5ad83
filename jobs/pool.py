"""arq's way to a client: connect at once, with a few tries."""

from __future__ import annotations

import asyncio

import arq.connections

from jobs.client import Client
from jobs.codec import Deserializer, Serializer
from jobs.connections import RedisSettings, Trouble, as_server_error, trouble
from jobs.keys import ARQ_DEFAULT_QUEUE


async def create_pool(  # noqa: PLR0913 -- arq's signature
    settings_: arq.connections.RedisSettings | None = None,
    *,
    retry: int = 0,
    job_serializer: Serializer | None = None,
    job_deserializer: Deserializer | None = None,
    default_queue_name: str = ARQ_DEFAULT_QUEUE,
    expires_extra_ms: int = 0,
) -> Client:
    """arq's way to a client: connects at once, up to `conn_retries` times.

    A refusal that no repetition changes, such as that of a wrong password, is raised at once.

    Raises:
        ServerAway, ServerRefused: the server did not answer, or not well.
    """
    settings = settings_ or RedisSettings()
    client = Client.from_settings(settings)
    client.job_serializer, client.job_deserializer = job_serializer, job_deserializer
    client.default_queue_name, client.expires_extra_ms = default_queue_name, expires_extra_ms
    for attempt in range(retry, settings.conn_retries + 1):
        try:
            await client.ping()
        except Exception as error:
            if trouble(error) is None:
                raise
            if attempt >= settings.conn_retries or trouble(error) is Trouble.fatal:
                await client.aclose()
                raise as_server_error(error, client.address) from error
            await asyncio.sleep(settings.conn_retry_delay)
        else:
            break
    return client
