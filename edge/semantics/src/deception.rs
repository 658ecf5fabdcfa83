//! Armour against web cache deception: an attacker lures a victim to `/account/x.css`, the origin answers with the
//! account page, and a cache keeps it for the attacker to read.
//!
//! A path whose extension names a kind of file that the Content-Type contradicts is taken for such a lure. An unknown
//! extension, a missing Content-Type and `application/octet-stream` contradict nothing.

use http::header::{self, HeaderMap};

/// Whether the path's extension and the response's Content-Type disagree. `path` may have a query.
#[must_use]
pub fn is_deceptive(path: &str, response: &HeaderMap) -> bool {
    let Some(kind) = extension(path).as_deref().and_then(Kind::of) else {
        return false;
    };
    let Some(essence) = essence(response) else {
        return false;
    };
    if matches!(
        essence.as_str(),
        "application/octet-stream" | "binary/octet-stream"
    ) {
        return false;
    }
    !kind.admits(&essence)
}

/// The lower-case extension of the path's last segment, as an origin reads it that decodes `%2e` and `%2f` first.
fn extension(path: &str) -> Option<String> {
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let path = &path[..end];
    // Most paths have no extension, however they are written.
    if !path.contains(['.', '%']) {
        return None;
    }
    let path = path.to_ascii_lowercase();
    let path = path.replace("%2e", ".").replace("%2f", "/");
    let segment = path.rsplit('/').next()?;
    let (_, extension) = segment.rsplit_once('.')?;
    Some(extension.to_owned())
}

/// The media type without its parameters, in lower case.
fn essence(response: &HeaderMap) -> Option<String> {
    let value = response.get(header::CONTENT_TYPE)?.as_bytes();
    let essence = value.split(|byte| *byte == b';').next()?.trim_ascii();
    let essence = std::str::from_utf8(essence).ok()?;
    (!essence.is_empty()).then(|| essence.to_ascii_lowercase())
}

/// What a file with a well-known extension contains.
#[derive(Clone, Copy)]
enum Kind {
    Style,
    Script,
    Json,
    Xml,
    Page,
    Text,
    Table,
    Image,
    Font,
    Media,
    Wasm,
    /// Archives, documents, executables: some other `application/*`.
    Binary,
}

impl Kind {
    fn of(extension: &str) -> Option<Self> {
        Some(match extension {
            "css" => Self::Style,
            "js" | "mjs" | "cjs" => Self::Script,
            "json" | "map" | "webmanifest" => Self::Json,
            "xml" | "rss" | "atom" | "xsl" | "xslt" => Self::Xml,
            "html" | "htm" | "xhtml" => Self::Page,
            "txt" => Self::Text,
            "csv" => Self::Table,
            "apng" | "avif" | "bmp" | "cur" | "gif" | "heic" | "ico" | "jfif" | "jpeg" | "jpg"
            | "jxl" | "png" | "svg" | "svgz" | "tif" | "tiff" | "webp" => Self::Image,
            "eot" | "otf" | "ttc" | "ttf" | "woff" | "woff2" => Self::Font,
            "aac" | "avi" | "flac" | "flv" | "m3u8" | "m4a" | "m4v" | "mid" | "midi" | "mkv"
            | "mov" | "mp3" | "mp4" | "mpeg" | "mpg" | "oga" | "ogg" | "ogv" | "opus" | "wav"
            | "weba" | "webm" | "wmv" => Self::Media,
            "wasm" => Self::Wasm,
            "7z" | "apk" | "bin" | "bz2" | "dmg" | "doc" | "docx" | "ejs" | "exe" | "gz"
            | "iso" | "jar" | "pdf" | "ppt" | "pptx" | "ps" | "rar" | "swf" | "tar" | "xls"
            | "xlsx" | "zip" | "zst" => Self::Binary,
            _ => return None,
        })
    }

    fn admits(self, essence: &str) -> bool {
        let is_json =
            essence == "application/json" || essence == "text/json" || essence.ends_with("+json");
        let is_xml = essence == "application/xml"
            || essence == "text/xml"
            || (essence.ends_with("+xml") && essence != "application/xhtml+xml");
        let is_page = essence == "text/html" || essence == "application/xhtml+xml";
        match self {
            Self::Style => essence == "text/css",
            Self::Script => {
                essence.ends_with("/javascript")
                    || essence.ends_with("/x-javascript")
                    || essence.ends_with("/ecmascript")
            }
            Self::Json => is_json,
            Self::Xml => is_xml,
            Self::Page => is_page,
            Self::Text => essence == "text/plain",
            Self::Table => matches!(
                essence,
                "text/csv" | "text/plain" | "application/csv" | "application/vnd.ms-excel"
            ),
            Self::Image => essence.starts_with("image/"),
            Self::Font => {
                essence.starts_with("font/")
                    || essence.starts_with("application/font-")
                    || essence.starts_with("application/x-font-")
                    || essence == "application/vnd.ms-fontobject"
                    || essence == "application/vnd.ms-opentype"
            }
            Self::Media => {
                essence.starts_with("audio/")
                    || essence.starts_with("video/")
                    || matches!(
                        essence,
                        "application/ogg"
                            | "application/mp4"
                            | "application/vnd.apple.mpegurl"
                            | "application/x-mpegurl"
                    )
            }
            Self::Wasm => essence == "application/wasm",
            Self::Binary => essence.starts_with("application/") && !is_json && !is_xml && !is_page,
        }
    }
}
