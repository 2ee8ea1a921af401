namespace Kapell.Cli.Up;

/// <summary>Holds a data folder for one running kapell, by an advisory lock that the kernel drops when the process dies.</summary>
internal sealed class InstanceLock : IDisposable
{
    private readonly FileStream _file;
    private readonly string _pidFile;

    private InstanceLock(FileStream file, string pidFile)
    {
        _file = file;
        _pidFile = pidFile;
    }

    /// <exception cref="UpException">Another process holds it.</exception>
    public static InstanceLock Take(ClusterLayout layout)
    {
        try
        {
            Directory.CreateDirectory(layout.DataDir);
            FileStream file = new(layout.LockFile, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            File.WriteAllText(layout.PidFile, Environment.ProcessId + "\n");
            File.Delete(layout.ReadyFile);
            return new InstanceLock(file, layout.PidFile);
        }
        catch (IOException) when (Holder(layout) is { } pid)
        {
            throw new UpException($"another kapell (process {pid}) runs on {layout.DataDir}",
                $"stop it with: kapell down --data-dir {layout.DataDir}; or choose another folder with --data-dir");
        }
        catch (UnauthorizedAccessException e)
        {
            throw new UpException($"{layout.DataDir} cannot be written: {e.Message}", "choose another folder with --data-dir, or run as its owner");
        }
        catch (IOException e)
        {
            throw new UpException($"{layout.DataDir} cannot be used: {e.Message}", "make room or choose another folder with --data-dir");
        }
    }

    /// <summary>The process that holds the folder now, or null.</summary>
    public static int? Holder(ClusterLayout layout)
    {
        if (!File.Exists(layout.LockFile))
        {
            return null;
        }

        try
        {
            using FileStream probe = new(layout.LockFile, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
            return null;
        }
        catch (IOException)
        {
            return File.Exists(layout.PidFile) && int.TryParse(File.ReadAllText(layout.PidFile), out int pid) ? pid : 0;
        }
    }

    public void Dispose()
    {
        File.Delete(_pidFile);
        _file.Dispose();
    }
}
