namespace Kapell.Conformance.Etcd;

/// <summary>The two programs that one body of tests is run against.</summary>
public enum StoreKind
{
    Kapell,
    Upstream,
}
