"""The MIME type of a file: by its name where that is known, else by its first bytes."""

from __future__ import annotations

import mimetypes
import os
import re
from functools import cache, lru_cache
from typing import Final

from console.files.beneath import open_file

UNKNOWN: Final = "application/octet-stream"

_HEAD: Final = 4096
_ZIP: Final = b"PK\x03\x04"
_MEDIA_TYPE: Final = re.compile(r"application/[a-z0-9.+-]{1,100}")
_ENCODED: Final = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "compress": "application/x-compress",
    "br": "application/x-brotli",
}
# Not in the standard library's table, and common in what people upload. Many of these are ZIP archives inside, which is
# what their first bytes would tell.
_MORE: Final = {
    ".3mf": "model/3mf",
    ".7z": "application/x-7z-compressed",
    ".aif": "audio/x-aiff",
    ".apk": "application/vnd.android.package-archive",
    ".arrow": "application/vnd.apache.arrow.file",
    ".arw": "image/x-sony-arw",
    ".avif": "image/avif",
    ".avro": "application/avro",
    ".azw3": "application/vnd.amazon.ebook",
    ".cab": "application/vnd.ms-cab-compressed",
    ".cbr": "application/vnd.comicbook-rar",
    ".cbz": "application/vnd.comicbook+zip",
    ".conf": "text/plain",
    ".cr2": "image/x-canon-cr2",
    ".cr3": "image/x-canon-cr3",
    ".crx": "application/x-chrome-extension",
    ".dcm": "application/dicom",
    ".deb": "application/vnd.debian.binary-package",
    ".djvu": "image/vnd.djvu",
    ".dmg": "application/x-apple-diskimage",
    ".dng": "image/x-adobe-dng",
    ".docm": "application/vnd.ms-word.document.macroenabled.12",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".dotm": "application/vnd.ms-word.template.macroenabled.12",
    ".dotx": "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
    ".dwg": "image/vnd.dwg",
    ".dxf": "image/vnd.dxf",
    ".ear": "application/java-archive",
    ".eot": "application/vnd.ms-fontobject",
    ".epub": "application/epub+zip",
    ".fb2": "application/x-fictionbook+xml",
    ".feather": "application/vnd.apache.arrow.file",
    ".flac": "audio/flac",
    ".flv": "video/x-flv",
    ".geojson": "application/geo+json",
    ".mpd": "application/dash+xml",
    ".map": "application/json",
    ".one": "application/onenote",
    ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json",
    ".gpkg": "application/geopackage+sqlite3",
    ".gpx": "application/gpx+xml",
    ".gz": "application/gzip",
    ".ics": "text/calendar",
    ".ini": "text/plain",
    ".iso": "application/x-iso9660-image",
    ".jar": "application/java-archive",
    ".jp2": "image/jp2",
    ".jsonl": "application/jsonl",
    ".jxl": "image/jxl",
    ".kml": "application/vnd.google-earth.kml+xml",
    ".kmz": "application/vnd.google-earth.kmz",
    ".log": "text/plain",
    ".lz4": "application/x-lz4",
    ".lzma": "application/x-lzma",
    ".m2ts": "video/mp2t",
    ".m4a": "audio/mp4",
    ".m4b": "audio/mp4",
    ".m4r": "audio/mp4",
    ".m4v": "video/x-m4v",
    ".md": "text/markdown",
    ".mdb": "application/x-msaccess",
    ".mid": "audio/midi",
    ".midi": "audio/midi",
    ".mkv": "video/x-matroska",
    ".mobi": "application/x-mobipocket-ebook",
    ".mpp": "application/vnd.ms-project",
    ".msg": "application/vnd.ms-outlook",
    ".msi": "application/x-msi",
    ".mts": "video/mp2t",
    ".ndjson": "application/x-ndjson",
    ".nef": "image/x-nikon-nef",
    ".numbers": "application/vnd.apple.numbers",
    ".odb": "application/vnd.oasis.opendocument.base",
    ".odc": "application/vnd.oasis.opendocument.chart",
    ".odf": "application/vnd.oasis.opendocument.formula",
    ".odg": "application/vnd.oasis.opendocument.graphics",
    ".odi": "application/vnd.oasis.opendocument.image",
    ".odm": "application/vnd.oasis.opendocument.text-master",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".ogx": "application/ogg",
    ".orc": "application/vnd.apache.orc",
    ".otf": "font/otf",
    ".otg": "application/vnd.oasis.opendocument.graphics-template",
    ".otp": "application/vnd.oasis.opendocument.presentation-template",
    ".ots": "application/vnd.oasis.opendocument.spreadsheet-template",
    ".ott": "application/vnd.oasis.opendocument.text-template",
    ".p7m": "application/pkcs7-mime",
    ".pages": "application/vnd.apple.pages",
    ".parquet": "application/vnd.apache.parquet",
    ".pcap": "application/vnd.tcpdump.pcap",
    ".potm": "application/vnd.ms-powerpoint.template.macroenabled.12",
    ".potx": "application/vnd.openxmlformats-officedocument.presentationml.template",
    ".ppsm": "application/vnd.ms-powerpoint.slideshow.macroenabled.12",
    ".ppsx": "application/vnd.openxmlformats-officedocument.presentationml.slideshow",
    ".pptm": "application/vnd.ms-powerpoint.presentation.macroenabled.12",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".psd": "image/vnd.adobe.photoshop",
    ".pub": "application/x-mspublisher",
    ".rar": "application/vnd.rar",
    ".rpm": "application/x-rpm",
    ".rtf": "application/rtf",
    ".sql": "application/sql",
    ".sqlite": "application/vnd.sqlite3",
    ".sqlite3": "application/vnd.sqlite3",
    ".step": "model/step",
    ".stl": "model/stl",
    ".stp": "model/step",
    ".toml": "application/toml",
    ".torrent": "application/x-bittorrent",
    ".ttf": "font/ttf",
    ".usdz": "model/vnd.usdz+zip",
    ".vsd": "application/vnd.visio",
    ".vsdx": "application/vnd.ms-visio.drawing.main+xml",
    ".war": "application/java-archive",
    ".weba": "audio/webm",
    ".webp": "image/webp",
    ".wma": "audio/x-ms-wma",
    ".wmv": "video/x-ms-wmv",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xlam": "application/vnd.ms-excel.addin.macroenabled.12",
    ".xlsb": "application/vnd.ms-excel.sheet.binary.macroenabled.12",
    ".xlsm": "application/vnd.ms-excel.sheet.macroenabled.12",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".xltm": "application/vnd.ms-excel.template.macroenabled.12",
    ".xltx": "application/vnd.openxmlformats-officedocument.spreadsheetml.template",
    ".xpi": "application/x-xpinstall",
    ".xps": "application/vnd.ms-xpsdocument",
    ".xz": "application/x-xz",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zst": "application/zstd",
}

# Source, as shared-mime-info and GitHub's linguist call it. `.ts` is TypeScript or a film: its first bytes tell.
_SOURCE: Final = {
    ".c": "text/x-c",
    ".h": "text/x-c",
    ".cc": "text/x-c++",
    ".cpp": "text/x-c++",
    ".hpp": "text/x-c++",
    ".cs": "text/x-csharp",
    ".dart": "application/dart",
    ".go": "text/x-go",
    ".java": "text/x-java",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".cjs": "text/javascript",
    ".jsx": "text/jsx",
    ".jl": "text/x-julia",
    ".kt": "text/x-kotlin",
    ".lua": "text/x-lua",
    ".pl": "text/x-perl",
    ".php": "application/x-httpd-php",
    ".proto": "text/x-protobuf",
    ".ps1": "text/x-powershell",
    ".py": "text/x-python",
    ".r": "text/x-r",
    ".rb": "text/x-ruby",
    ".rs": "text/x-rust",
    ".rst": "text/x-rst",
    ".scala": "text/x-scala",
    ".scss": "text/x-scss",
    ".swift": "text/x-swift",
    ".tsx": "text/x-typescript",
    ".vue": "text/x-vue",
    ".ipynb": "application/x-ipynb+json",
}
_TYPESCRIPT: Final = "text/x-typescript"
_TRANSPORT_STREAM: Final = (".ts", "video/mp2t", 188, b"\x47")  # packets of 188 bytes, each begins with that one


def content_type(path: str, below: str | None = None) -> str:
    """The type of the file at `path`. A file that cannot be read is of unknown type, not an error."""
    name = os.path.basename(path)  # noqa: PTH119
    found = by_name(name) or by_content(path, below) or UNKNOWN
    suffix, film, *_ = _TRANSPORT_STREAM
    return _TYPESCRIPT if name.lower().endswith(suffix) and found not in (film, UNKNOWN) else found


def by_name(filename: str) -> str | None:
    """The type that the suffix stands for; a compressed file is of its compression's type, not of its content's."""
    suffix = os.path.splitext(filename)[1].lower()  # noqa: PTH122
    return _of_suffix(suffix) if suffix else None


@cache
def _table() -> mimetypes.MimeTypes:
    # Without the host's own files (/etc/mime.types), so that every host says the same.
    table = mimetypes.MimeTypes()
    for suffix, kind in {**_MORE, **_SOURCE}.items():
        table.add_type(kind, suffix)
    return table


@lru_cache(maxsize=1024)
def _of_suffix(suffix: str) -> str | None:
    # Of the name only its suffix: `guess_type` takes a URL, and would read `data:,x.png` as one.
    kind, encoding = _table().guess_type(f"name{suffix}")
    return _ENCODED.get(encoding, UNKNOWN) if encoding else kind


def by_content(path: str, below: str | None = None) -> str | None:
    """The type that the first 4 KiB tell, or None. The file is reached as `files.beneath` does."""
    try:
        descriptor = open_file(path, below)
    except OSError:
        return None
    try:
        head = os.pread(descriptor, _HEAD, 0)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return of_bytes(head)


def of_bytes(content: bytes) -> str | None:
    """The same of what begins so."""
    head = content[:_HEAD]
    if not head:
        return None
    _, film, packet, sync = _TRANSPORT_STREAM
    if len(head) > packet and all(head[start : start + 1] == sync for start in range(0, len(head), packet)):
        return film
    if head.startswith(_ZIP):
        return _of_zip(head)
    import puremagic  # reads its table of signatures when imported: only where it is needed

    try:
        kind = puremagic.from_string(head, mime=True)
    except (puremagic.PureError, ValueError):
        kind = ""
    return kind or ("text/plain" if _is_text(head) else None)


def _of_zip(head: bytes) -> str:
    """OpenDocument and EPUB files name their type in a first entry; of other archives the first bytes tell no more."""
    name_end = 30 + int.from_bytes(head[26:28], "little")
    start = name_end + int.from_bytes(head[28:30], "little")
    named = head[start : start + int.from_bytes(head[22:26], "little")].decode("ascii", "replace")
    is_named = head[30:name_end] == b"mimetype" and _MEDIA_TYPE.fullmatch(named) is not None
    return named if is_named else "application/zip"


def _is_text(head: bytes) -> bool:
    """UTF-8 without control characters, allowing for a letter that is cut at the end."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if len(head) < _HEAD or error.start < len(head) - 3:
            return False
        text = head[: error.start].decode()
    return not any(character < " " and character not in "\t\n\r\f\x1b" for character in text)
