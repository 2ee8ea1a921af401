using Kapell.Raft;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>How the renewal of a lease went.</summary>
/// <param name="Ttl">Seconds; 0 when there is no such lease, null when this member does not lead.</param>
/// <param name="Proven">That this member led a moment ago is certain; see <see cref="Replication.Replica.RenewLease"/>.</param>
internal readonly record struct LeaseRenewal(long? Ttl, bool Proven, Term Term, long Revision);
