namespace Kapell.Machinery.Apply;

/// <summary>Conflicts as the 409 that tells them (apimachinery managedfields conflict.go).</summary>
internal static class ApplyConflicts
{
    public static Status ToStatus(List<(ManagerId Manager, FieldSet Set)> conflicts)
    {
        List<(string Manager, string Path)> all = [];
        foreach ((ManagerId manager, FieldSet set) in conflicts.OrderBy(c => c.Manager.ToString(), StringComparer.Ordinal))
        {
            set.ForEach(path => all.Add((manager.ToString(), PathElements.Show(path))));
        }

        string message = all.Count == 1
            ? $"Apply failed with 1 conflict: conflict with {all[0].Manager}: {all[0].Path}"
            : $"Apply failed with {all.Count} conflicts: " + string.Join('\n', all.GroupBy(c => c.Manager)
                .SelectMany(g => g.Select(c => "- " + c.Path).Prepend($"conflicts with {g.Key}:")));
        return new Status
        {
            Code = 409, Reason = "Conflict", Message = message,
            Causes = [.. all.Select(c => new StatusCause("FieldManagerConflict", "conflict with " + c.Manager, c.Path))],
        };
    }
}
