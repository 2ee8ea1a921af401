namespace Kapell.Sim;

public sealed class Placeholder;
