using Kapell.Etcd.Server.Replication;
using Kapell.Raft;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>How the renewal of a lease went.</summary>
/// <param name="Error">This member does not lead, or is stopping; null when it was renewed or is not there.</param>
/// <param name="Ttl">Seconds; 0 when there is no such lease.</param>
/// <param name="Proven">That this member led a moment ago is certain; see <see cref="Replica.RenewLease"/>.</param>
internal readonly record struct LeaseRenewal(EtcdError? Error, long Ttl, bool Proven, Term Term, long Revision)
{
    public static LeaseRenewal Refused(EtcdError error) => new(error, 0, false, default, 0);
}
