namespace Kapell.Conformance.Etcd;

/// <summary>What one body of tests is run against.</summary>
public enum StoreKind
{
    Kapell,
    Upstream,

    /// <summary>Kapell's store, through its grpc-proxy.</summary>
    Proxied,
}
