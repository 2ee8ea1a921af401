using Kapell.Base;
using Kapell.Bench;

using CancellationTokenSource stopping = new();
Console.CancelKeyPress += (_, e) =>
{
    e.Cancel = true;
    stopping.Cancel();
};
try
{
    return await BenchCommand.RunAsync(args, Console.Out, stopping.Token);
}
catch (FlagException e)
{
    Console.Error.WriteLine($"Error: {e.Message}\nRun with --help for the flags.");
    return 2;
}
catch (OperationCanceledException) when (stopping.IsCancellationRequested)
{
    return 130;
}
