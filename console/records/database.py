"""The records as one thing: connected, checked, prepared.

from console.records.database import Records
records = Records.open(settings.mongodb)
records.uploads.counts()
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pymongo import ReadPreference
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from console.bson_decoding import EVENT_CODEC
from console.models import Endpoint
from console.records.connection import MAJORITY, Connection, check, connect, explain
from console.records.runners import Runners
from console.records.schema import CollectionState, inspect, prepare
from console.records.uploads import Uploads
from console.settings import MongoSettings


@dataclass(frozen=True, slots=True)
class Records:
    """MongoDB as the rest of the program uses it. `state` is the collection as it was found, `notes` what was set up
    then and what is missing.

    A context manager: an error of the driver's that ends the `with` block leaves it as the `ConsoleError` that people
    can act on.
    """

    connection: Connection
    uploads: Uploads
    runners: Runners
    state: CollectionState
    notes: tuple[str, ...]

    @classmethod
    def open(
        cls,
        settings: MongoSettings,
        *,
        sets_up: bool = True,
        adopt: bool = False,
        endpoint: Endpoint | None = None,
    ) -> Self:
        """Connect, see that the deployment can serve, and bring the collection up to what the console needs.

        Commands that only read or ask for something change nothing (`sets_up` false). `adopt`: also where the
        collection holds documents of others. `endpoint` is where uploads are that older versions recorded.

        Raises:
            ConsoleError: the URI is wrong, the server is away, refuses, or has no change streams.
        """
        connection = connect(settings)
        try:
            wire_version = check(connection)
            database = connection.client.get_database(
                settings.database,
                codec_options=EVENT_CODEC,
                # Whatever the URI says: what was written is seen, and no write waits for members that are not there.
                read_preference=ReadPreference.PRIMARY,
                read_concern=ReadConcern(),
                write_concern=MAJORITY,
            )
            try:
                state = inspect(database, settings.collection, wire_version=wire_version)
                notes = [] if state.is_complete else [state.words]
                if sets_up and not state.is_complete:
                    name = endpoint.name if endpoint is not None else None
                    notes = prepare(
                        database, settings.collection, wire_version=wire_version, adopt=adopt, endpoint=name
                    )
            except PyMongoError as error:
                raise explain(error, connection) from error
        except BaseException:
            connection.close()
            raise
        uploads = Uploads(database[settings.collection])
        return cls(connection, uploads, Runners(database, settings.collection), state, tuple(notes))

    @property
    def deployment(self) -> str:
        """Which collection of which servers this is, as this host calls them. No secret is in it."""
        return f"{self.connection.address}/{self.uploads.collection.full_name}"

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        # Before the client is closed, which knows no more then why it found no server.
        reason = explain(error, self.connection) if isinstance(error, PyMongoError) else None
        self.close()
        if reason is not None:
            raise reason from error
