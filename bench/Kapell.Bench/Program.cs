using System.ComponentModel;
using Kapell.Base;
using Kapell.Bench;
using Kapell.Bench.Scale;
using Kapell.Bench.Suite;

using CancellationTokenSource stopping = new();
Console.CancelKeyPress += (_, e) =>
{
    e.Cancel = true;
    stopping.Cancel();
};
try
{
    return args switch
    {
        ["scale", .. string[] rest] => await ScaleCommand.RunAsync(rest, Console.Out, stopping.Token),
        ["disk", .. string[] rest] => await DiskCommand.RunAsync(rest, Console.Out, stopping.Token),
        ["watches", .. string[] rest] => await WatchesCommand.RunAsync(rest, Console.Out, stopping.Token),
        ["suite", .. string[] rest] => await SuiteCommand.RunAsync(rest, Console.Out, stopping.Token),
        _ => await BenchCommand.RunAsync(args, Console.Out, stopping.Token),
    };
}
catch (FlagException e)
{
    Console.Error.WriteLine($"Error: {e.Message}\nRun with --help for the flags.");
    return 2;
}
catch (Exception e) when (e is IOException or Win32Exception)
{
    // A program that is not there, or does not do what is asked of it.
    Console.Error.WriteLine($"Error: {e.Message}");
    return 1;
}
catch (OperationCanceledException) when (stopping.IsCancellationRequested)
{
    return 130;
}
