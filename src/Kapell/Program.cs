namespace Kapell.Cli;

/// <summary>The one executable: finds the component by subcommand or by the name it was called through, and runs it.</summary>
internal static class Program
{
    private static int Main(string[] args)
    {
        Console.Error.WriteLine($"kapell: nothing here yet for '{string.Join(' ', args)}'");
        return 2;
    }
}
