namespace Kapell.Storage;

/// <summary>
/// A disk on which nothing is ever made certain: for tests that start stores by the hundred and throw them away. After a loss of power
/// anything may be missing; a process that is killed loses nothing. etcd: --unsafe-no-fsync
/// </summary>
public sealed class UnsyncedDisk(IDisk disk) : PassThroughDisk(disk)
{
    public override void SyncDirectory(string path)
    {
        // On purpose.
    }

    protected override IDiskFile Wrap(IDiskFile file) => new UnsyncedFile(file);

    private sealed class UnsyncedFile(IDiskFile file) : PassThroughFile(file)
    {
        public override void WriteBack(long offset, long length)
        {
            // Nothing waits for a flush that never comes.
        }

        public override void Flush()
        {
            // On purpose.
        }

        public override void FlushContent(long offset, long length)
        {
            // On purpose.
        }
    }
}
