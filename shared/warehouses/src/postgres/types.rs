//! Which PostgreSQL types are read, and as what.

use domain::value::Type;
use tokio_postgres::types::{Kind, Type as PgType};

use super::decode::{Decoder, Scalar};

/// How values of this type are read; `None` when they are not.
pub(crate) fn decoder(of: &PgType) -> Option<Decoder> {
    match of.kind() {
        Kind::Array(element) => match decoder(element)? {
            Decoder::Scalar(scalar) => Some(Decoder::Array(scalar)),
            _ => None,
        },
        Kind::Domain(base) => decoder(base),
        Kind::Enum(_) => Some(Decoder::Scalar(Scalar::Text)),
        Kind::Simple => scalar(of).map(Decoder::Scalar),
        _ => None,
    }
}

fn scalar(of: &PgType) -> Option<Scalar> {
    Some(match *of {
        PgType::BOOL => Scalar::Bool,
        PgType::INT2 => Scalar::Int2,
        PgType::INT4 => Scalar::Int4,
        PgType::INT8 => Scalar::Int8,
        PgType::OID => Scalar::Oid,
        PgType::FLOAT4 => Scalar::Float4,
        PgType::FLOAT8 => Scalar::Float8,
        PgType::NUMERIC => Scalar::Numeric,
        PgType::TEXT
        | PgType::VARCHAR
        | PgType::BPCHAR
        | PgType::NAME
        | PgType::CHAR
        | PgType::XML
        | PgType::UNKNOWN => Scalar::Text,
        PgType::BYTEA => Scalar::Bytea,
        PgType::DATE => Scalar::Date,
        PgType::TIME => Scalar::Time,
        PgType::TIMETZ => Scalar::TimeTz,
        PgType::TIMESTAMP => Scalar::Timestamp,
        PgType::TIMESTAMPTZ => Scalar::TimestampTz,
        PgType::INTERVAL => Scalar::Interval,
        PgType::JSON => Scalar::Json,
        PgType::JSONB => Scalar::Jsonb,
        PgType::UUID => Scalar::Uuid,
        PgType::INET | PgType::CIDR => Scalar::Inet,
        PgType::MACADDR | PgType::MACADDR8 => Scalar::MacAddr,
        // Of an extension, so without a number of its own; on the wire it is text.
        _ if of.name() == "citext" => Scalar::Text,
        _ => return None,
    })
}

impl Decoder {
    /// The type of the values it gives.
    pub(crate) fn kind(&self) -> Type {
        match self {
            Decoder::Array(_) => Type::Json,
            Decoder::Unsupported => Type::Any,
            Decoder::Scalar(scalar) => match scalar {
                Scalar::Bool => Type::Bool,
                Scalar::Int2 | Scalar::Int4 | Scalar::Int8 | Scalar::Oid => Type::Int,
                Scalar::Float4 | Scalar::Float8 => Type::Float,
                Scalar::Numeric => Type::Decimal,
                Scalar::Text | Scalar::TimeTz | Scalar::Interval | Scalar::Inet | Scalar::MacAddr => Type::Text,
                Scalar::Bytea => Type::Bytes,
                Scalar::Date => Type::Date,
                Scalar::Time => Type::Time,
                Scalar::Timestamp => Type::DateTime,
                Scalar::TimestampTz => Type::Timestamp,
                Scalar::Json | Scalar::Jsonb => Type::Json,
                Scalar::Uuid => Type::Uuid,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_apart() {
        for (of, kind) in [
            (PgType::INT2, Some(Type::Int)),
            (PgType::NUMERIC, Some(Type::Decimal)),
            (PgType::TIMESTAMP, Some(Type::DateTime)),
            (PgType::TIMESTAMPTZ, Some(Type::Timestamp)),
            (PgType::INTERVAL, Some(Type::Text)),
            (PgType::INT4_ARRAY, Some(Type::Json)),
            (PgType::JSONB, Some(Type::Json)),
            (PgType::MONEY, None),
            (PgType::POINT, None),
            (PgType::INT4_RANGE, None),
            (PgType::MONEY_ARRAY, None),
            (PgType::VOID, None),
            (PgType::RECORD, None),
        ] {
            assert_eq!(decoder(&of).map(|d| d.kind()), kind, "{of}");
        }
    }

    #[test]
    fn a_domain_reads_as_its_base() {
        let email = PgType::new("email".into(), 99_999, Kind::Domain(PgType::VARCHAR), "public".into());
        assert_eq!(decoder(&email), Some(Decoder::Scalar(Scalar::Text)));
        let tier = PgType::new("tier".into(), 99_998, Kind::Enum(vec!["a".into()]), "public".into());
        let tiers = PgType::new("_tier".into(), 99_997, Kind::Array(tier), "public".into());
        assert_eq!(decoder(&tiers), Some(Decoder::Array(Scalar::Text)));
    }
}
