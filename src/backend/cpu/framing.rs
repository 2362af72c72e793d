//! Whether an ONNX file is put together soundly, before the ONNX reader sees it.
//!
//! ONNX files are protocol buffers: messages within messages, each with its length in front. The reader
//! believes these lengths. A wrong one makes it ask for more memory than there is, which ends the
//! process, or jump backwards and read for ever; neither can be caught, so such files are kept from it.
//! Only lengths and nesting are checked here, without reading what lies between: the reader deals with the
//! rest.

use std::{
    fs::File,
    io::{self, BufReader, ErrorKind, Read, Seek},
    path::Path,
};

/// Graphs contain operators that contain graphs. Real ones do so three or four times.
const MAX_DEPTH: usize = 64;

/// The messages that contain others, as `onnx.proto` names them.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    SequenceType,
    Shape,
    /// Contains no messages.
    Leaf,
}

impl Message {
    /// The message in field `number`; other fields contain text, numbers or what the reader ignores.
    fn child(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 8 | 14) | (Self::Tensor, 13) | (Self::Shape, 1) => Self::Leaf,
            (Self::Graph, 1) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) => Self::Tensor,
            (Self::Graph, 11..=13) => Self::ValueInfo,
            (Self::Node, 5) => Self::Attribute,
            (Self::ValueInfo, 2) | (Self::SequenceType, 1) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::Type, 4) => Self::SequenceType,
            (Self::TensorType, 2) => Self::Shape,
            _ => return None,
        })
    }
}

/// Checks the ONNX file at `path`.
///
/// # Errors
/// The file cannot be read, or is no sound ONNX ([`ErrorKind::InvalidData`]).
pub(super) fn check(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Walk { reader: BufReader::new(file), position: 0 }.message(Message::Model, length, 0)
}

struct Walk<R> {
    reader: R,
    position: u64,
}

impl<R: Read + Seek> Walk<R> {
    /// Walks over the fields of a message that ends at `end`.
    fn message(&mut self, message: Message, end: u64, depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(ErrorKind::InvalidData.into());
        }
        while self.position < end {
            let tag = self.varint()?;
            match tag & 7 {
                0 => drop(self.varint()?),
                1 => self.skip(8)?,
                2 => {
                    let length = self.varint()?;
                    let field_end = self.position.checked_add(length).filter(|&field_end| field_end <= end);
                    let field_end = field_end.ok_or(ErrorKind::InvalidData)?;
                    match message.child(tag >> 3) {
                        Some(child) => self.message(child, field_end, depth + 1)?,
                        None => self.skip(length)?,
                    }
                }
                5 => self.skip(4)?,
                _ => return Err(ErrorKind::InvalidData.into()),
            }
        }
        if self.position == end { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
    }

    /// Seven bits a byte, the lowest first; the highest bit says that more follow.
    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.reader.read_exact(&mut byte)?;
            self.position += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ErrorKind::InvalidData.into())
    }

    fn skip(&mut self, length: u64) -> io::Result<()> {
        self.reader.seek_relative(i64::try_from(length).map_err(|_| ErrorKind::InvalidData)?)?;
        self.position += length;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn check_bytes(bytes: &[u8]) -> io::Result<()> {
        Walk { reader: Cursor::new(bytes), position: 0 }.message(Message::Model, bytes.len() as u64, 0)
    }

    /// A field with a length in front.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        let mut length = content.len();
        while length > 0x7f {
            bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        bytes.push(u8::try_from(length).unwrap());
        bytes.extend(content);
        bytes
    }

    #[test]
    fn accepts_sound_files() {
        let node = field(1, &[field(4, b"Relu"), field(1, b"x")].concat());
        for sound in [vec![], vec![8, 8], field(7, &node), field(2, b"pytorch"), vec![0x0d, 1, 2, 3, 4]] {
            check_bytes(&sound).unwrap();
        }
    }

    #[test]
    fn refuses_lengths_that_lead_out() {
        let backwards = [&[2 << 3 | 2][..], &[0xff; 9], &[0x01]].concat();
        let out_of_the_graph = field(7, &[1 << 3 | 2, 5, 0]);
        let out_of_the_file = vec![2 << 3 | 2, 5, 0];
        let number_across_the_end = field(7, &[8, 0x80]);
        for unsound in [backwards, out_of_the_graph, out_of_the_file, number_across_the_end, vec![0xff; 20]] {
            assert!(check_bytes(&unsound).is_err(), "{unsound:?}");
        }
    }

    #[test]
    fn refuses_bottomless_nesting() {
        let nested = |levels| {
            let attribute = |graph: Vec<u8>, _| field(1, &field(5, &field(6, &graph)));
            field(7, &(0..levels).fold(Vec::new(), attribute))
        };
        check_bytes(&nested(10)).unwrap();
        assert!(check_bytes(&nested(1000)).is_err());
    }
}
