namespace Kapell.Sim.Checks;

/// <summary>One change of one key, as the store's log has it. <paramref name="Value"/> is null for a deletion.</summary>
internal readonly record struct Change(long Revision, string Key, string? Value);
