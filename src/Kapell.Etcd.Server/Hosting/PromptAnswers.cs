using Kapell.Etcd.Server.Replication;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>
/// Answers for who has little left to do, which the owner of the turn does itself at its end, when it holds no lock: an answer that is ready
/// goes out with those of its batch, and no other thread is woken for it.
/// </summary>
internal sealed class PromptAnswers
{
    private readonly List<IPrompt> _ready = []; // Of the owner's thread.
    private int _owner;

    private interface IPrompt
    {
        void Tell();
    }

    /// <summary>This thread takes the turn.</summary>
    public bool IsOwner => Environment.CurrentManagedThreadId == Volatile.Read(ref _owner);

    /// <summary>This thread takes the turn from now on.</summary>
    public void BeginTurn() => Volatile.Write(ref _owner, Environment.CurrentManagedThreadId);

    public void EndTurn() => Volatile.Write(ref _owner, 0);

    /// <summary>By the owner, at the end of its turn.</summary>
    public void Tell()
    {
        if (_ready.Count == 0)
        {
            return;
        }

        bool batch = WorkBatch.TryBegin();
        for (int i = 0; i < _ready.Count; i++)
        {
            _ready[i].Tell();
        }

        _ready.Clear();
        if (batch)
        {
            WorkBatch.End();
        }
    }

    /// <summary>Its task goes on in the owner's thread, or in that of whoever else sets it.</summary>
    public sealed class Outcome<T>(PromptAnswers answers) : TaskCompletionSource<T>, IOutcome<T>, IPrompt
    {
        private T _outcome = default!;

        public void Set(T outcome)
        {
            _outcome = outcome;
            if (answers.IsOwner)
            {
                answers._ready.Add(this);
            }
            else
            {
                Tell();
            }
        }

        public void Tell() => TrySetResult(_outcome);
    }
}
