using Xunit;

namespace Kapell.Conformance.Kube;

// Every body runs once over each store.

/// <inheritdoc/>
[Collection("kube on kapell")]
public sealed class ReadWriteOnKapell(KapellStore store) : ReadWriteTests(store);

/// <inheritdoc/>
[Collection("kube on etcd")]
public sealed class ReadWriteOnEtcd(UpstreamStore store) : ReadWriteTests(store);

/// <inheritdoc/>
[Collection("kube on kapell")]
public sealed class ListWatchOnKapell(KapellStore store) : ListWatchTests(store);

/// <inheritdoc/>
[Collection("kube on etcd")]
public sealed class ListWatchOnEtcd(UpstreamStore store) : ListWatchTests(store);

/// <inheritdoc/>
[Collection("kube on kapell")]
public sealed class PatchOnKapell(KapellStore store) : PatchTests(store);

/// <inheritdoc/>
[Collection("kube on etcd")]
public sealed class PatchOnEtcd(UpstreamStore store) : PatchTests(store);

/// <inheritdoc/>
[Collection("kube on kapell")]
public sealed class DeletionOnKapell(KapellStore store) : DeletionTests(store);

/// <inheritdoc/>
[Collection("kube on etcd")]
public sealed class DeletionOnEtcd(UpstreamStore store) : DeletionTests(store);

/// <inheritdoc/>
[Collection("kube on kapell")]
public sealed class SubresourceOnKapell(KapellStore store) : SubresourceTests(store);

/// <inheritdoc/>
[Collection("kube on etcd")]
public sealed class SubresourceOnEtcd(UpstreamStore store) : SubresourceTests(store);

/// <inheritdoc/>
[Collection("kube on kapell")]
public sealed class SecurityOnKapell(KapellStore store) : SecurityTests(store);

/// <inheritdoc/>
[Collection("kube on etcd")]
public sealed class SecurityOnEtcd(UpstreamStore store) : SecurityTests(store);

/// <inheritdoc/>
[Collection("kube on kapell")]
public sealed class DiscoveryOnKapell(KapellStore store) : DiscoveryTests(store);

/// <inheritdoc/>
[Collection("kube on etcd")]
public sealed class DiscoveryOnEtcd(UpstreamStore store) : DiscoveryTests(store);

/// <inheritdoc/>
[Collection("kube on kapell")]
public sealed class KindsOnKapell(KapellStore store) : KindsTests(store);

/// <inheritdoc/>
[Collection("kube on etcd")]
public sealed class KindsOnEtcd(UpstreamStore store) : KindsTests(store);
