namespace Kapell.Sim.Checks;

/// <summary>
/// What clients were told against what the cluster did: every acknowledged write stands at its revision, answers come in the order of
/// real time, reads show the state of their revision, and the history of every key is linearizable without knowing any revision.
/// </summary>
/// <param name="operations">All that clients asked.</param>
/// <param name="first">The first revision of the history; no key of it was there before.</param>
/// <param name="last">Its last revision.</param>
/// <param name="changesOf">What the cluster did at a revision, in order.</param>
/// <param name="fail">Makes the exception that ends the run.</param>
internal sealed class HistoryCheck(
    IReadOnlyList<Operation> operations, long first, long last, Func<long, IReadOnlyList<Change>> changesOf, Func<string, Exception> fail)
{
    /// <summary>Histories that were too tangled to decide.</summary>
    public int Undecided { get; private set; }

    public void Run()
    {
        CheckOrder();
        Dictionary<string, List<(long Revision, string? Value)>> keys = Timeline();
        foreach (Operation operation in operations.Where(static o => o.State is OperationState.Done))
        {
            CheckAgainst(keys, operation);
        }

        foreach (string key in operations.Where(static o => o.Key.Length > 0).SelectMany(KeysOf).Distinct().Order(StringComparer.Ordinal))
        {
            CheckKey(key);
        }
    }

    private static IEnumerable<string> KeysOf(Operation operation) => operation.OtherKey is null ? [operation.Key] : [operation.Key, operation.OtherKey];

    private void CheckKey(string key)
    {
        // A lease takes its keys away without a client's doing: their history is another checker's.
        Operation[] own = [.. operations.Where(o => KeysOf(o).Contains(key) && o.Kind < OperationKind.Grant)];
        bool? linear = operations.Any(o => o.Kind == OperationKind.PutWithLease && o.Key == key) ? true : Linearizability.Check(own, key);
        if (linear is null)
        {
            Undecided++;
        }
        else if (linear is false)
        {
            throw fail($"the history of {key} is not linearizable:\n  {string.Join("\n  ", own.AsEnumerable())}");
        }
    }

    /// <summary>The revision of an answer is never lower than one that was told before the question.</summary>
    private void CheckOrder()
    {
        long told = 0;
        Queue<Operation> ended = new(operations.Where(static o => o.State is OperationState.Done && o.Revision > 0).OrderBy(static o => o.Ended));
        foreach (Operation operation in operations.Where(static o => o.State is OperationState.Done && o.Revision > 0).OrderBy(static o => o.Begun))
        {
            while (ended.TryPeek(out Operation? before) && before.Ended < operation.Begun)
            {
                told = Math.Max(told, ended.Dequeue().Revision);
            }

            if (operation.Revision < told)
            {
                throw fail($"stale: revision {told} had been told before this began: {operation}");
            }
        }
    }

    private Dictionary<string, List<(long Revision, string? Value)>> Timeline()
    {
        Dictionary<string, List<(long Revision, string? Value)>> keys = new(StringComparer.Ordinal);
        for (long revision = first; revision <= last; revision++)
        {
            foreach (Change change in changesOf(revision))
            {
                if (!keys.TryGetValue(change.Key, out List<(long Revision, string? Value)>? line))
                {
                    keys[change.Key] = line = [];
                }

                line.Add((revision, change.Value));
            }
        }

        return keys;
    }

    private void CheckAgainst(Dictionary<string, List<(long Revision, string? Value)>> keys, Operation operation)
    {
        bool writes = operation.Kind is OperationKind.Put or OperationKind.PutWithLease or OperationKind.PutTwo
            || (operation.Kind == OperationKind.Replace && operation.Succeeded);
        bool deletes = operation is { Kind: OperationKind.Delete, Succeeded: true };
        if (deletes && !changesOf(operation.Revision).Contains(new Change(operation.Revision, operation.Key, null)))
        {
            throw fail($"an acknowledged deletion is not there: {operation}");
        }

        if (writes && !changesOf(operation.Revision).Contains(new Change(operation.Revision, operation.Key, operation.Value)))
        {
            throw fail($"an acknowledged write is not there: {operation}");
        }

        if (operation.Kind == OperationKind.Get || (operation.Kind == OperationKind.Replace && !operation.Succeeded))
        {
            string? then = keys.TryGetValue(operation.Key, out List<(long Revision, string? Value)>? line)
                ? line.LastOrDefault(c => c.Revision <= operation.Revision).Value : null;
            if (then != operation.Found)
            {
                throw fail($"at revision {operation.Revision} the value was {then ?? "none"}: {operation}");
            }
        }
    }
}
