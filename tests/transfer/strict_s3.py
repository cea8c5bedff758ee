"""A small S3 server in memory that is as strict about checksums and conditions as AWS documents it, or as odd as some.

Neither rclone nor moto verifies the newer checksums or combines them. This one computes every checksum itself, over
the bytes it got, refuses what does not match (`BadDigest`), returns what it stored, and honours `If-None-Match: *`.
No signatures. `Habits` are what other stores were seen to do: each is a switch. With `tls` it has a certificate.
"""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from console.s3.checksums import Algorithm, digest_bytes

CERTIFICATE = Path(__file__).with_name("localhost.pem")
AUTHORITY = Path(__file__).with_name("authority.pem")
Reply = tuple[int, dict[str, str], str | bytes]
NEWER = [algorithm for algorithm in Algorithm if algorithm is not Algorithm.MD5]


@dataclass(frozen=True, kw_only=True)
class Habits:
    """What a store does otherwise than AWS, and who was seen doing it."""

    brief: bool = False
    """No newer checksums: rclone before 1.70, many appliances."""
    brief_parts: bool = False
    """Checksums of objects, none of parts."""
    checksum_types: Literal["both", "composite", "composite_refuses"] = "both"
    """Only the checksum of the parts' checksums: taken for the other one without a word (MinIO before 2025), or with a
    refusal of FULL_OBJECT (Cloudflare R2)."""
    etags: Literal["md5", "opaque", "like_md5", "weak"] = "md5"
    """`like_md5` looks like one and is none (encryption behind the server); `weak` is what compressing proxies make."""
    etag_of_completion: bool = True
    """Ceph answers a CompleteMultipartUpload with an empty one."""
    etag_of_head: bool = True
    """The JuiceFS gateway has none by default."""
    lists_parts: bool = True
    aborts: bool = True
    """s3rver and localbucket know no ListParts, some no abort."""
    most_parts: int = 10_000
    """Scaleway takes 1,000."""
    refused_part_at: Literal["part", "completion"] = "part"
    write_only: bool = False
    """The user may not look at objects."""
    parts_denied: bool = False
    """The user has no right to ListParts and AbortMultipartUpload."""
    conditions: Literal["both", "put", "none", "refused"] = "both"
    """Which requests honour If-None-Match: Ceph's PutObject alone; rclone ignores it, others refuse the header."""
    key_first: bool = False
    """A completion looks at the condition before it looks for the multipart upload, as MinIO does."""
    vain_aborts: int = 0
    """After so many aborts the parts are there still, as S3's are while one is under way."""
    access_keys: frozenset[str] | None = None
    """Other keys have expired."""
    damaged_bodies: int = 0
    """So many are stored with another byte, and nothing but the ETag tells."""
    customer_keys: bool = True
    """rclone and moto pass over keys of SSE-C, and store in the clear."""
    messages: bool = True
    """Ceph leaves `<Message>` out of errors."""


@dataclass
class Piece:
    data: bytes
    etag: str
    checksums: dict[Algorithm, str]


@dataclass
class Stored:
    data: bytes
    etag: str
    checksums: dict[Algorithm, str]
    kind: str
    part_sizes: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Opened:
    key: str
    algorithm: Algorithm | None
    kind: str
    headers: dict[str, str]
    parts: dict[int, Piece] = field(default_factory=dict)


class Refused(Exception):
    def __init__(self, status: int, code: str, message: str = "refused") -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message


class StrictS3:
    """The server; a context manager. `objects` and `multiparts` are what it holds, of one bucket of any name."""

    def __init__(
        self,
        *,
        tls: bool = False,
        **habits: Any,
    ) -> None:
        self.habits = Habits(**habits)
        self.objects: dict[str, Stored] = {}
        self.multiparts: dict[str, Opened] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._lock = threading.Lock()
        self._aborts = 0
        self._bodies = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return lambda: outer._handle(self)
                raise AttributeError(name)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.url = f"https://localhost:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        target = urlsplit(request.path)
        key = unquote(target.path).lstrip("/").partition("/")[2]
        query = {name: values[0] for name, values in parse_qs(target.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self._lock:
            self.requests.append((request.command, key, headers))
            try:
                status, answer, text = self._answer(request.command, key, query, headers, body)
            except Refused as refused:
                status, answer = refused.status, {}
                message = f"<Message>{escape(refused.message)}</Message>" if self.habits.messages else ""
                text = f"<Error><Code>{refused.code}</Code>{message}</Error>"
        content = b"" if request.command == "HEAD" else text if isinstance(text, bytes) else text.encode()
        request.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Connection": "close", **answer}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content)

    def _answer(self, method: str, key: str, query: dict[str, str], headers: dict[str, str], body: bytes) -> Reply:
        self._require_access_key(headers)
        if not key:
            return 200, {}, "<R/>"
        if "uploadId" in query:
            if method == "POST" and self.habits.key_first:
                self._require_absent(key, headers)
            opened = self.multiparts.get(query["uploadId"])
            if opened is None:
                raise Refused(404, "NoSuchUpload")
            if method == "PUT":
                return self._put_part(opened, int(query["partNumber"]), headers, body)
            if self.habits.parts_denied and method in ("GET", "DELETE"):
                raise Refused(403, "AccessDenied")
            if method == "GET":
                if not self.habits.lists_parts:
                    raise Refused(501, "NotImplemented")
                return 200, {}, self._listing(opened)
            if method == "POST":
                return self._complete(query["uploadId"], opened, headers, body)
            if not self.habits.aborts:
                raise Refused(501, "NotImplemented")
            self._aborts += 1
            if self._aborts > self.habits.vain_aborts:
                del self.multiparts[query["uploadId"]]
            return 204, {}, ""
        if method == "POST":
            return self._create(key, headers)
        if method == "PUT":
            return self._put_object(key, headers, body)
        if self.habits.write_only and method != "DELETE":
            raise Refused(403, "AccessDenied")
        if key not in self.objects:
            raise Refused(404, "NoSuchKey")
        if method == "DELETE":
            del self.objects[key]
            return 204, {}, ""
        if method == "GET":
            return self._get(self.objects[key], headers)
        return self._head(self.objects[key], query, headers)

    def _put_object(self, key: str, headers: dict[str, str], body: bytes) -> Reply:
        self._require_absent(key, headers, is_put=True)
        piece = self._verified(headers, body, None)
        self.objects[key] = Stored(piece.data, piece.etag, piece.checksums, "FULL_OBJECT", [], headers)
        return 200, self._shown(piece.etag, piece.checksums) | self._encrypted(headers), ""

    def _create(self, key: str, headers: dict[str, str]) -> Reply:
        name = headers.get("x-amz-checksum-algorithm")
        kind = headers.get("x-amz-checksum-type", "COMPOSITE")
        if self.habits.checksum_types != "both":
            if kind == "FULL_OBJECT" and self.habits.checksum_types == "composite_refuses":
                raise Refused(501, "NotImplemented", "x-amz-checksum-type FULL_OBJECT is not implemented")
            kind = "COMPOSITE"
        upload_id = f"upload-{len(self.requests)}"
        self.multiparts[upload_id] = Opened(key, Algorithm[name] if name else None, kind, headers)
        root = "InitiateMultipartUploadResult"
        return 200, {}, f"<{root}><Key>{escape(key)}</Key><UploadId>{upload_id}</UploadId></{root}>"

    def _put_part(self, opened: Opened, number: int, headers: dict[str, str], body: bytes) -> Reply:
        if number > self.habits.most_parts and self.habits.refused_part_at == "part":
            limit = f"Part number must be an integer between 1 and {self.habits.most_parts}, inclusive"
            raise Refused(400, "InvalidArgument", limit)
        piece = opened.parts[number] = self._verified(headers, body, opened.algorithm)
        if self.habits.brief_parts:
            piece.checksums = {}
        return 200, self._shown(piece.etag, piece.checksums) | self._encrypted(headers), ""

    def _encrypted(self, headers: dict[str, str]) -> dict[str, str]:
        name = "x-amz-server-side-encryption-customer-algorithm"
        return {name: headers[name]} if name in headers and self.habits.customer_keys else {}

    def _complete(self, upload_id: str, opened: Opened, headers: dict[str, str], body: bytes) -> Reply:
        self._require_absent(opened.key, headers)
        tree = ElementTree.fromstring(body)
        for element in tree.iter():
            element.tag = element.tag.partition("}")[2] or element.tag
        pieces = [self._listed_piece(opened, part) for part in tree.iter("Part")]
        if not pieces:
            raise Refused(400, "MalformedXML")
        if len(pieces) > self.habits.most_parts:
            raise Refused(400, "InvalidRequest", f"an object may have {self.habits.most_parts:,} parts at most")
        if any(len(piece.data) < 5 * 1024 * 1024 for piece in pieces[:-1]):
            raise Refused(400, "EntityTooSmall")
        data = b"".join(piece.data for piece in pieces)
        if int(headers.get("x-amz-mp-object-size", len(data))) != len(data):
            raise Refused(400, "InvalidRequest")
        checksums = {} if self._has_no_part_checksums or opened.algorithm is None else self._whole(opened, pieces, data)
        for algorithm in NEWER:
            told = headers.get(algorithm.header)
            if told is not None and told != checksums.get(algorithm, told):
                raise Refused(400, "BadDigest")
        md5s = b"".join(hashlib.md5(piece.data).digest() for piece in pieces)
        etag = f"{hashlib.md5(md5s).hexdigest()}-{len(pieces)}"
        if self.habits.etags == "opaque":
            etag = f"opaque-{upload_id}"
        elif self.habits.etags == "like_md5":
            etag = f"{hashlib.md5(md5s + b'?').hexdigest()}-{len(pieces)}"
        sizes = [len(piece.data) for piece in pieces]
        self.objects[opened.key] = Stored(data, etag, checksums, opened.kind, sizes, opened.headers)
        del self.multiparts[upload_id]
        shown = "".join(f"<{a.parameter}>{value}</{a.parameter}>" for a, value in checksums.items())
        told_etag = etag if self.habits.etag_of_completion else ""
        return 200, {}, f"<R><Key>{escape(opened.key)}</Key><ETag>{told_etag}</ETag>{shown}</R>"

    def _listed_piece(self, opened: Opened, part: ElementTree.Element) -> Piece:
        piece = opened.parts.get(int(part.findtext("PartNumber", "0")))
        if piece is None or part.findtext("ETag", "").strip('"') != piece.etag:
            raise Refused(400, "InvalidPart")
        if opened.algorithm is not None and not self._has_no_part_checksums:
            told = part.findtext(opened.algorithm.parameter)
            if opened.kind == "COMPOSITE" and told is None:
                raise Refused(400, "InvalidRequest")
            if told is not None and told != piece.checksums[opened.algorithm]:
                raise Refused(400, "InvalidPart")
        return piece

    def _whole(self, opened: Opened, pieces: list[Piece], data: bytes) -> dict[Algorithm, str]:
        algorithm = opened.algorithm
        assert algorithm is not None
        if opened.kind == "FULL_OBJECT":
            return {algorithm: base64.b64encode(digest_bytes(algorithm, data)).decode()}
        of_parts = b"".join(digest_bytes(algorithm, piece.data) for piece in pieces)
        value = base64.b64encode(digest_bytes(algorithm, of_parts)).decode()
        return {algorithm: f"{value}-{len(pieces)}"}

    def _verified(self, headers: dict[str, str], body: bytes, required: Algorithm | None) -> Piece:
        self._bodies += 1
        if self._bodies <= self.habits.damaged_bodies:
            body, headers = body[:-1] + bytes([body[-1] ^ 1]), {}
        if "content-md5" in headers and headers["content-md5"] != base64.b64encode(hashlib.md5(body).digest()).decode():
            raise Refused(400, "BadDigest")
        checksums = {}
        for algorithm in NEWER:
            value = base64.b64encode(digest_bytes(algorithm, body)).decode()
            if headers.get(algorithm.header, value) != value:
                raise Refused(400, "BadDigest")
            if algorithm.header in headers or algorithm is required:
                checksums[algorithm] = value
        if not checksums:
            checksums[Algorithm.CRC64NVME] = base64.b64encode(digest_bytes(Algorithm.CRC64NVME, body)).decode()
        etag = hashlib.md5(body).hexdigest()
        if self.habits.etags == "opaque":
            etag = f"opaque-{len(self.requests)}"
        elif self.habits.etags == "like_md5":
            etag = hashlib.md5(body + b"?").hexdigest()
        return Piece(body, etag, {} if self.habits.brief else checksums)

    @property
    def _has_no_part_checksums(self) -> bool:
        return self.habits.brief or self.habits.brief_parts

    def _require_access_key(self, headers: dict[str, str]) -> None:
        known = self.habits.access_keys
        used = re.search(r"Credential=([^/]+)/", headers.get("authorization", ""))
        if known is not None and (used is None or used[1] not in known):
            raise Refused(400, "ExpiredToken", "The provided token has expired.")

    def _require_absent(self, key: str, headers: dict[str, str], *, is_put: bool = False) -> None:
        if headers.get("if-none-match") != "*":
            return
        if self.habits.conditions == "refused":
            raise Refused(501, "NotImplemented", "A header you provided implies functionality that is not implemented")
        is_honoured = self.habits.conditions == ("put" if is_put else "both") or self.habits.conditions == "both"
        if is_honoured and key in self.objects:
            raise Refused(412, "PreconditionFailed")

    def _listing(self, opened: Opened) -> str:
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{piece.etag}</ETag><Size>{len(piece.data)}</Size>"
            + "".join(f"<{a.parameter}>{value}</{a.parameter}>" for a, value in piece.checksums.items())
            + "</Part>"
            for number, piece in sorted(opened.parts.items())
        )
        algorithm = f"<ChecksumAlgorithm>{opened.algorithm}</ChecksumAlgorithm>" if opened.algorithm else ""
        return f"<R><IsTruncated>false</IsTruncated>{'' if self.habits.brief else algorithm}{parts}</R>"

    def _get(self, stored: Stored, headers: dict[str, str]) -> Reply:
        first, _, last = headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
        data = stored.data[int(first) : int(last) + 1 if last else None]
        status = 206 if "range" in headers else 200
        return status, self._shown(stored.etag, {}), data

    def _head(self, stored: Stored, query: dict[str, str], headers: dict[str, str]) -> Reply:
        shown = {"Content-Length": str(len(stored.data))}
        if self.habits.etag_of_head:
            shown |= self._shown(stored.etag, {})
        if headers.get("x-amz-checksum-mode") == "ENABLED":
            shown |= {algorithm.header: value for algorithm, value in stored.checksums.items()}
        if "partNumber" in query and stored.part_sizes:
            shown |= {"Content-Length": str(stored.part_sizes[0]), "x-amz-mp-parts-count": str(len(stored.part_sizes))}
        return 200, shown, ""

    def _shown(self, etag: str, checksums: dict[Algorithm, str]) -> dict[str, str]:
        quoted = f'W/"{etag}"' if self.habits.etags == "weak" else f'"{etag}"'
        return {"ETag": quoted} | {algorithm.header: value for algorithm, value in checksums.items()}
