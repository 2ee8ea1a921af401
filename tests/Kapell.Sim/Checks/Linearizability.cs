using System.Collections;

namespace Kapell.Sim.Checks;

/// <summary>
/// Whether the operations on one key could have happened one at a time, each between its call and its answer (Wing and Gong 1993, with
/// Lowe's memory of what was tried). A key holds a value or nothing. Operations without an answer may happen at any later time.
/// </summary>
internal static class Linearizability
{
    private const int StepsMax = 400_000;

    /// <summary>Null when no order was found within the bound of steps: undecided.</summary>
    public static bool? Check(IReadOnlyList<Operation> operations, string key)
    {
        List<Operation> live = [.. operations.Where(static o => o.State is OperationState.Done || (o.State is OperationState.Unknown or OperationState.Pending && o.IsWrite))];
        Event first = Chain(live);
        BitArray taken = new(live.Count);
        HashSet<(string Taken, string? State)> tried = [];
        Stack<(Event Call, string? State)> path = new();
        string? state = null;
        Event? at = first.Next;
        int steps = 0;
        int answersLeft = live.Count(static o => o.State is OperationState.Done);
        while (answersLeft > 0)
        {
            if (++steps > StepsMax)
            {
                return null;
            }

            if (at is { IsCall: true })
            {
                if (TryStep(at.Operation!, key, state, out string? next))
                {
                    taken[at.Place] = true;
                    if (tried.Add((Text(taken), next)))
                    {
                        path.Push((at, state));
                        state = next;
                        answersLeft -= at.Operation!.State is OperationState.Done ? 1 : 0;
                        at.Lift();
                        at = first.Next;
                        continue;
                    }

                    taken[at.Place] = false;
                }

                at = at.Next;
                continue;
            }

            // An answer whose call could not be placed, or the end: take back the last one.
            if (path.Count == 0)
            {
                return false;
            }

            (Event call, state) = path.Pop();
            taken[call.Place] = false;
            answersLeft += call.Operation!.State is OperationState.Done ? 1 : 0;
            call.Unlift();
            at = call.Next;
        }

        return true;
    }

    /// <summary>What the operation does to the value, and whether the answer fits.</summary>
    private static bool TryStep(Operation operation, string key, string? state, out string? next)
    {
        bool known = operation.State is OperationState.Done;
        next = state;
        switch (operation.Kind)
        {
            case OperationKind.Get:
                return operation.Found == state;
            case OperationKind.Put or OperationKind.PutWithLease:
                next = operation.Value;
                return true;
            case OperationKind.PutTwo:
                next = key == operation.Key ? operation.Value : operation.Value + "'";
                return true;
            case OperationKind.Delete:
                next = null;
                return !known || operation.Succeeded == (state is not null);
            case OperationKind.Replace:
                bool succeeds = state == operation.Expected;
                next = succeeds ? operation.Value : state;
                return !known || (operation.Succeeded == succeeds && (succeeds || operation.Found == state));
            default:
                return true;
        }
    }

    private static string Text(BitArray bits)
    {
        int[] words = new int[(bits.Length + 31) / 32];
        bits.CopyTo(words, 0);
        return string.Join(',', words);
    }

    private static Event Chain(List<Operation> operations)
    {
        Event head = new(null, false, -1);
        List<(ulong Time, int Order, Event Event)> events = [];
        for (int i = 0; i < operations.Count; i++)
        {
            Event call = new(operations[i], true, i);
            events.Add((operations[i].Begun, 1, call));
            if (operations[i].State is OperationState.Done)
            {
                Event answer = new(operations[i], false, i);
                call.Answer = answer;
                // An answer and a call of the same turn may have been either way round: calls first.
                events.Add((operations[i].Ended, 2, answer));
            }
        }

        Event last = head;
        foreach ((_, _, Event next) in events.OrderBy(static e => e.Time).ThenBy(static e => e.Order).ThenBy(static e => e.Event.Place))
        {
            last.Next = next;
            next.Previous = last;
            last = next;
        }

        return head;
    }

    private sealed class Event(Operation? operation, bool isCall, int place)
    {
        public Operation? Operation { get; } = operation;

        public bool IsCall { get; } = isCall;

        public int Place { get; } = place;

        public Event? Answer { get; set; }

        public Event? Next { get; set; }

        public Event? Previous { get; set; }

        /// <summary>Takes call and answer out of the chain.</summary>
        public void Lift()
        {
            Unlink(this);
            if (Answer is not null)
            {
                Unlink(Answer);
            }
        }

        /// <summary>Puts them back, in the opposite order.</summary>
        public void Unlift()
        {
            if (Answer is not null)
            {
                Link(Answer);
            }

            Link(this);
        }

        private static void Unlink(Event e)
        {
            e.Previous!.Next = e.Next;
            if (e.Next is not null)
            {
                e.Next.Previous = e.Previous;
            }
        }

        private static void Link(Event e)
        {
            e.Previous!.Next = e;
            if (e.Next is not null)
            {
                e.Next.Previous = e;
            }
        }
    }
}
