using System.Text;

namespace Kapell.Etcd.Server.Http2;

/// <summary>
/// One header field. Fields that a client keeps in its dynamic table come as the same instance again and again, so what was made of a
/// field once (the method a path stands for) can be kept with it.
/// </summary>
internal sealed class HpackHeader(byte[] name, byte[] value)
{
    private string? _nameText;
    private string? _valueText;
    private FieldKind _kind;

    public HpackHeader(string name, string value)
        : this(Encoding.ASCII.GetBytes(name), Encoding.ASCII.GetBytes(value))
    {
    }

    public byte[] Name => name;

    public byte[] Value => value;

    public string NameText => _nameText ??= Encoding.Latin1.GetString(name);

    public string ValueText => _valueText ??= Encoding.Latin1.GetString(value);

    /// <summary>What it is in a request; looked at once.</summary>
    public FieldKind Kind => _kind == FieldKind.Unknown ? _kind = RequestFields.KindOf(name, value) : _kind;

    /// <summary>What the user of the connection made of this field.</summary>
    public object? Meaning { get; set; }

    /// <summary>Its size as HPACK counts it (RFC 7541 §4.1).</summary>
    public int Size => name.Length + value.Length + 32;

    public bool Is(ReadOnlySpan<byte> wanted) => name.AsSpan().SequenceEqual(wanted);
}
