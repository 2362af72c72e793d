//! Embeddings as a Parquet file: columns path, size, mtime_ns, embedding (a list of float), model, backend.

use std::{fs::File, io, sync::Arc};

use parquet::{
    basic::{Compression, ConvertedType, LogicalType, Repetition, Type as Physical},
    data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int64Type},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::types::Type,
};

use super::Table;

/// Rows that a reader takes into memory at once.
const ROWS_PER_GROUP: usize = 16_384;

pub(super) fn write(file: &mut File, table: &Table) -> io::Result<()> {
    encode(file, table).map_err(io::Error::other)
}

fn encode(file: &mut File, table: &Table) -> Result<(), ParquetError> {
    let metadata = [
        ("model", table.encoder.model.clone()),
        ("backend", table.encoder.backend.clone()),
        ("dimension", table.encoder.dimension.to_string()),
    ];
    let metadata = metadata.map(|(key, value)| KeyValue::new(format!("hailo-clip.{key}"), value));
    let properties = WriterProperties::builder()
        .set_created_by(concat!("hailo-clip version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(metadata.to_vec()))
        // Embeddings are close to noise: neither compression nor a dictionary makes them smaller.
        .set_compression(Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled("embedding.list.element".into(), false)
        .build();
    let mut writer = SerializedFileWriter::new(file, schema()?, Arc::new(properties))?;
    for rows in table.rows.chunks(ROWS_PER_GROUP) {
        let mut group = writer.next_row_group()?;
        let paths: Vec<ByteArray> = rows.iter().map(|row| row.path.as_str().into()).collect();
        column::<ByteArrayType>(&mut group, &paths, None, None)?;
        optional(&mut group, rows.iter().map(|row| row.size().and_then(|size| size.try_into().ok())))?;
        optional(&mut group, rows.iter().map(super::Row::mtime_ns))?;
        let values: Vec<f32> = rows.iter().flat_map(|row| row.embedding.iter().copied()).collect();
        // The first value of each row begins a new list.
        let starts: Vec<i16> =
            rows.iter().flat_map(|row| (0..row.embedding.len()).map(|place| i16::from(place > 0))).collect();
        column::<FloatType>(&mut group, &values, Some(&vec![1; values.len()]), Some(&starts))?;
        for text in [&table.encoder.model, &table.encoder.backend] {
            let texts = vec![ByteArray::from(text.as_str()); rows.len()];
            column::<ByteArrayType>(&mut group, &texts, None, None)?;
        }
        group.close()?;
    }
    writer.close().map(drop)
}

/// <https://github.com/apache/parquet-format/blob/master/LogicalTypes.md#lists>
fn schema() -> Result<Arc<Type>, ParquetError> {
    let text = |name| {
        Type::primitive_type_builder(name, Physical::BYTE_ARRAY)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(Some(LogicalType::String))
            .with_converted_type(ConvertedType::UTF8)
            .build()
            .map(Arc::new)
    };
    let number = |name| {
        Type::primitive_type_builder(name, Physical::INT64)
            .with_repetition(Repetition::OPTIONAL)
            .build()
            .map(Arc::new)
    };
    let element = Type::primitive_type_builder("element", Physical::FLOAT)
        .with_repetition(Repetition::REQUIRED)
        .build()?;
    let list = Type::group_type_builder("list")
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![Arc::new(element)])
        .build()?;
    let embedding = Type::group_type_builder("embedding")
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(Some(LogicalType::List))
        .with_converted_type(ConvertedType::LIST)
        .with_fields(vec![Arc::new(list)])
        .build()?;
    let fields = vec![
        text("path")?,
        number("size")?,
        number("mtime_ns")?,
        Arc::new(embedding),
        text("model")?,
        text("backend")?,
    ];
    Type::group_type_builder("embeddings").with_fields(fields).build().map(Arc::new)
}

fn optional(
    group: &mut SerializedRowGroupWriter<'_, &mut File>,
    values: impl Iterator<Item = Option<i64>>,
) -> Result<(), ParquetError> {
    let values: Vec<Option<i64>> = values.collect();
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let present: Vec<i64> = values.into_iter().flatten().collect();
    column::<Int64Type>(group, &present, Some(&levels), None)
}

fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, &mut File>,
    values: &[T::T],
    definition: Option<&[i16]>,
    repetition: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let missing = || ParquetError::General("the schema has fewer columns".to_owned());
    let mut column = group.next_column()?.ok_or_else(missing)?;
    column.typed::<T>().write_batch(values, definition, repetition)?;
    column.close()
}
