//! What an ONNX file tells without being opened: whether it is put together soundly, and its precision.
//!
//! ONNX files are protocol buffers: messages within messages, each with its length in front. The ONNX reader
//! believes these lengths. A wrong one makes it ask for more memory than there is, which ends the
//! process, or jump backwards and read for ever; neither can be caught, so such files are kept from it.
//! Lengths and nesting are checked here, names of operators and kinds of weights are read, and everything else
//! is skipped: the reader deals with the rest.

use std::{
    fs::File,
    io::{self, BufReader, ErrorKind, Read, Seek},
    path::Path,
};

use super::Precision;

/// Graphs contain operators that contain graphs. Real ones do so three or four times.
const MAX_DEPTH: usize = 64;
/// No operator's name is longer.
const MAX_NAME: u64 = 256;

/// `onnx.proto`'s numbers of the half-precision types, IEEE's and Google's.
const HALVES: [u64; 2] = [10, 16];

/// The messages that contain others, as `onnx.proto` names them.
#[derive(Clone, Copy, PartialEq, Eq)]
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

/// Checks the ONNX file at `path`, and tells its precision: that of its operators, else of its largest weights.
///
/// # Errors
/// The file cannot be read, or is no sound ONNX ([`ErrorKind::InvalidData`]).
pub fn check(path: &Path) -> io::Result<Precision> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Walk::new(BufReader::new(file)).model(length)
}

struct Walk<R> {
    reader: R,
    position: u64,
    /// Whether an operator computes with integers, or takes weights that are stored so.
    quantised: bool,
    /// Of the largest tensor: how many numbers, of which type.
    largest: (u64, u64),
}

/// What is known of a tensor before its end.
struct Tensor {
    numbers: u64,
    kind: u64,
}

impl<R: Read + Seek> Walk<R> {
    fn new(reader: R) -> Self {
        Self { reader, position: 0, quantised: false, largest: (0, 0) }
    }

    fn model(mut self, length: u64) -> io::Result<Precision> {
        self.message(Message::Model, length, 0)?;
        Ok(match self.largest {
            _ if self.quantised => Precision::Int8,
            (_, kind) if HALVES.contains(&kind) => Precision::Fp16,
            _ => Precision::Fp32,
        })
    }

    /// Walks over the fields of a message that ends at `end`.
    fn message(&mut self, message: Message, end: u64, depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut tensor = Tensor { numbers: 1, kind: 0 };
        while self.position < end {
            let tag = self.varint()?;
            let field = tag >> 3;
            match tag & 7 {
                0 => {
                    let value = self.varint()?;
                    tensor.tell(field, value);
                }
                1 => self.skip(8)?,
                2 => {
                    let length = self.varint()?;
                    let field_end = self.position.checked_add(length).filter(|&field_end| field_end <= end);
                    let field_end = field_end.ok_or(ErrorKind::InvalidData)?;
                    match message.child(field) {
                        Some(child) => self.message(child, field_end, depth + 1)?,
                        None if message == Message::Node && field == 4 => self.operator(length)?,
                        // The dimensions, packed.
                        None if message == Message::Tensor && field == 1 => {
                            while self.position < field_end {
                                let value = self.varint()?;
                                tensor.tell(field, value);
                            }
                        }
                        None => self.skip(length)?,
                    }
                }
                5 => self.skip(4)?,
                _ => return Err(ErrorKind::InvalidData.into()),
            }
        }
        if self.position != end {
            return Err(ErrorKind::InvalidData.into());
        }
        if message == Message::Tensor && tensor.numbers > self.largest.0 {
            self.largest = (tensor.numbers, tensor.kind);
        }
        Ok(())
    }

    /// Reads the name of an operator.
    fn operator(&mut self, length: u64) -> io::Result<()> {
        if length > MAX_NAME {
            return self.skip(length);
        }
        let mut name = Vec::new();
        if self.reader.by_ref().take(length).read_to_end(&mut name)? as u64 != length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.position += length;
        self.quantised |= is_quantised(&String::from_utf8_lossy(&name));
        Ok(())
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

impl Tensor {
    /// Takes in one number of a field: 1 has a dimension each time, 2 the type.
    fn tell(&mut self, field: u64, value: u64) {
        match field {
            1 => self.numbers = self.numbers.saturating_mul(value),
            2 => self.kind = value,
            _ => {}
        }
    }
}

/// ONNX's own operators on quantised numbers, and those of ONNX Runtime.
fn is_quantised(operator: &str) -> bool {
    operator.starts_with("QLinear")
        || operator.ends_with("QuantizeLinear")
        || operator.starts_with("DynamicQuantize")
        || operator.starts_with("MatMulInteger")
        || matches!(
            operator,
            "ConvInteger"
                | "DequantizeLinear"
                | "MatMulNBits"
                | "QAttention"
                | "QGemm"
                | "GatherBlockQuantized"
        )
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn check_bytes(bytes: &[u8]) -> io::Result<Precision> {
        Walk::new(Cursor::new(bytes)).model(bytes.len() as u64)
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

    /// A model with these operators and weights.
    fn model(operators: &[&str], weights: &[Vec<u8>]) -> Vec<u8> {
        let operators = operators.iter().map(|operator| field(1, &field(4, operator.as_bytes())));
        let weights = weights.iter().map(|tensor| field(5, tensor));
        field(7, &operators.chain(weights).collect::<Vec<_>>().concat())
    }

    #[test]
    fn tells_the_precision() {
        let weights = |dimensions: &[u8], kind: u8| [field(1, dimensions), vec![2 << 3, kind]].concat();
        let unpacked = |dimension: u8, kind: u8| vec![1 << 3, dimension, 2 << 3, kind];
        for (operators, weights, expected) in [
            (vec!["MatMul"], vec![weights(&[8, 8], 1)], Precision::Fp32),
            (vec!["MatMul"], vec![weights(&[8, 8], 10), weights(&[2], 1)], Precision::Fp16),
            (vec!["MatMul"], vec![unpacked(64, 16), unpacked(2, 1)], Precision::Fp16),
            // One number in half precision is a constant, no weight.
            (vec!["MatMul"], vec![weights(&[8, 8], 1), weights(&[], 10)], Precision::Fp32),
            (vec!["MatMul", "MatMulInteger"], vec![weights(&[8, 8], 1)], Precision::Int8),
            (vec!["DequantizeLinear"], vec![weights(&[8, 8], 3)], Precision::Int8),
            (vec![], vec![], Precision::Fp32),
        ] {
            assert_eq!(check_bytes(&model(&operators, &weights)).unwrap(), expected, "{operators:?}");
        }
    }

    #[test]
    fn looks_into_branches() {
        let branch = field(6, &field(1, &field(4, b"DynamicQuantizeLinear")));
        let node = field(1, &[field(4, b"If"), field(5, &branch)].concat());
        assert_eq!(check_bytes(&field(7, &node)).unwrap(), Precision::Int8);
    }
}
