namespace Kapell.Tidy;

public sealed class Placeholder;
