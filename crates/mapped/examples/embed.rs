//! What a network makes of set inputs, for `tools/int8-arm64`, which runs this on several processors.
//!
//! `embed NETWORK.onnx` prints the first output of two rows, one number a line. Pictures are a pattern, token ids
//! rise from 1.

use std::{env, path::Path};

use rten::{DataType, Dimension, ValueType, ValueView};

type Failure = Box<dyn std::error::Error>;

/// Rows, and the length of a free axis of texts.
const ROWS: usize = 2;
const TOKENS: usize = 12;

fn main() -> Result<(), Failure> {
    let path = env::args().nth(1).ok_or("usage: embed NETWORK.onnx")?;
    let model = mapped::onnx(Path::new(&path), false)?;
    let &input = model.input_ids().first().ok_or("the network has no input")?;
    let info = model.node_info(input).ok_or("the network has no input")?;
    let axes = info.shape().ok_or("the network does not tell the shape of its input")?;
    let shape: Vec<usize> = axes
        .iter()
        .enumerate()
        .map(|(axis, dimension)| match dimension {
            Dimension::Fixed(length) => *length,
            Dimension::Symbolic(_) if axis == 0 => ROWS,
            Dimension::Symbolic(_) => TOKENS,
        })
        .collect();
    let numbers = shape.iter().product();
    let (mut pattern, mut ids) = (Vec::new(), Vec::new());
    let value = if info.dtype() == Some(ValueType::Tensor(DataType::Int32)) {
        ids.extend((1..=i32::try_from(*shape.last().unwrap_or(&1))?).cycle().take(numbers));
        ValueView::from_shape(shape.as_slice(), &ids)?
    } else {
        // Waves of different lengths, -1 to 1.
        let wave = |index: u16| (f32::from(index % 977) / 31.0).sin() * (f32::from(index % 89) / 7.0).cos();
        pattern.extend((0..=u16::MAX).cycle().take(numbers).map(wave));
        ValueView::from_shape(shape.as_slice(), &pattern)?
    };
    let output = model.output_ids()[0];
    let embeddings = model.run(vec![(input, value.into())], &[output], None)?.swap_remove(0);
    let (_, numbers) = embeddings.into_shape_vec::<f32, 2>()?;
    for number in numbers {
        println!("{number:e}");
    }
    Ok(())
}
