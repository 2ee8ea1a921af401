namespace Kapell.Conformance;

public sealed class Placeholder;
