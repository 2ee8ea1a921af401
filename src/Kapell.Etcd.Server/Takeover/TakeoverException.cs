namespace Kapell.Etcd.Server.Takeover;

/// <summary>A directory that etcd wrote cannot be taken over: which file, where in it (bytes from its beginning) and why.</summary>
internal sealed class TakeoverException : IOException
{
    public TakeoverException(string file, long offset, string reason)
        : base($"{file} cannot be taken over from etcd: at offset {offset}: {reason.TrimEnd('.')}. Nothing was changed: etcd may be started on it as before. "
            + "If the cluster has other members that are whole, move those, and add this one anew; or restore a saved snapshot with kapell etcdutl")
    {
    }

    public TakeoverException(string message)
        : base(message + ". Nothing was changed: etcd may be started on it as before")
    {
    }
}
