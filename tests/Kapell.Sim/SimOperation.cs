using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Rpc;

namespace Kapell.Sim.Checks;

/// <summary>In the simulation the operation itself waits for the replica's answer.</summary>
internal sealed partial class Operation : IOutcome<ApplyOutcome>, IOutcome<EtcdError?>
{
    /// <summary>Called once, when its fate is known.</summary>
    public Action<Operation, EtcdError?, Reply?>? Finish { get; set; }

    public void Set(ApplyOutcome outcome) => End(outcome.Error, outcome.Reply);

    public void Set(EtcdError? outcome) => End(outcome, null);

    private void End(EtcdError? error, Reply? reply)
    {
        Action<Operation, EtcdError?, Reply?>? finish = Finish;
        Finish = null;
        finish?.Invoke(this, error, reply);
    }
}
