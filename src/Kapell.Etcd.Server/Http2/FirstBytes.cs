namespace Kapell.Etcd.Server.Http2;

/// <summary>How a connection says what it speaks: HTTP/2 begins with "PRI ", which no request of HTTP/1.1 and no handshake of TLS does.</summary>
internal static class FirstBytes
{
    public const int Count = 4;

    /// <summary>How long they may take: who says nothing scans ports, or keeps a connection for later and has forgotten it.</summary>
    public static readonly TimeSpan Timeout = TimeSpan.FromSeconds(30);

    private static ReadOnlySpan<byte> Preface => "PRI "u8;

    /// <summary>Whether it is HTTP/2; null when more of it must come.</summary>
    /// <param name="first">At most <see cref="Count"/>.</param>
    public static bool? AreHttp2(ReadOnlySpan<byte> first) => !first.SequenceEqual(Preface[..first.Length]) ? false : first.Length == Count ? true : null;
}
