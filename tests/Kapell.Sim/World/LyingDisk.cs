using Kapell.Storage;

namespace Kapell.Sim.World;

/// <summary>A disk that says "flushed" and did nothing.</summary>
internal sealed class LyingDisk(IDisk disk) : PassThroughDisk(disk)
{
    protected override IDiskFile Wrap(IDiskFile file) => new LyingFile(file);

    private sealed class LyingFile(IDiskFile file) : PassThroughFile(file)
    {
        // The head of a file is kept, so that what is lost is what was acknowledged and not the file itself.
        private bool _headKept;

        public override void Flush()
        {
            if (!_headKept)
            {
                _headKept = true;
                base.Flush();
            }
        }

        public override void FlushContent(long offset, long length)
        {
            // What is a lie of the whole is one of a part.
        }
    }
}
