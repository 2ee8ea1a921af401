using System.Buffers;

namespace Kapell.Etcd.Server.Http2;

/// <summary>What a field of a request is, by its name and value alone.</summary>
[Flags]
internal enum FieldKind
{
    /// <summary>Nobody has looked yet.</summary>
    Unknown = 0,
    Regular = 1,
    Method = 2,
    Scheme = 4,
    Path = 8,
    Authority = 16,
    Malformed = 32,
}

/// <summary>
/// Which fields make a request: what reads like one thing here and like another behind a proxy is refused. Source: RFC 9113 §8.2, §8.3
/// (those that are missing are for the application to miss, as in Go's server).
/// </summary>
internal static class RequestFields
{
    private static readonly SearchValues<byte> NameBytes = SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~"u8);

    /// <summary>The pseudo-fields come first, each is known and none comes twice; no field is of HTTP/1 alone.</summary>
    public static bool AreWellFormed(List<HpackHeader> fields)
    {
        FieldKind seen = FieldKind.Unknown;
        foreach (HpackHeader field in fields)
        {
            FieldKind kind = field.Kind;
            bool again = kind != FieldKind.Regular && seen.HasFlag(kind);
            bool late = kind != FieldKind.Regular && seen.HasFlag(FieldKind.Regular);
            if (kind == FieldKind.Malformed || again || late)
            {
                return false;
            }

            seen |= kind;
        }

        return true;
    }

    public static FieldKind KindOf(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        if (name.IsEmpty || HasControls(value))
        {
            return FieldKind.Malformed;
        }

        if (name[0] == ':')
        {
            return name switch
            {
                _ when name.SequenceEqual(":method"u8) => FieldKind.Method,
                _ when name.SequenceEqual(":scheme"u8) => FieldKind.Scheme,
                _ when name.SequenceEqual(":path"u8) => FieldKind.Path,
                _ when name.SequenceEqual(":authority"u8) => FieldKind.Authority,
                _ => FieldKind.Malformed,
            };
        }

        bool ofHttp1 = name.SequenceEqual("connection"u8) || name.SequenceEqual("keep-alive"u8) || name.SequenceEqual("proxy-connection"u8)
            || name.SequenceEqual("transfer-encoding"u8) || name.SequenceEqual("upgrade"u8);
        return ofHttp1 || name.ContainsAnyExcept(NameBytes) ? FieldKind.Malformed : FieldKind.Regular;
    }

    private static bool HasControls(ReadOnlySpan<byte> value)
    {
        foreach (byte b in value)
        {
            if (b is (< 0x20 and not (byte)'\t') or 0x7f)
            {
                return true;
            }
        }

        return false;
    }
}
