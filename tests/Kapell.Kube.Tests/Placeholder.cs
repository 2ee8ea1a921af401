namespace Kapell.Kube.Tests;

public sealed class Placeholder;
