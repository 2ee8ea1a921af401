using System.Globalization;

namespace Kapell.Faults.World;

/// <summary>
/// The disk of one member: ext4 on a loop device over a file of its own, so that it can be full, slow, wiped, and lose its power.
/// </summary>
/// <param name="journal">Without one the store flushes its log in another way, and the file system must be mended after a loss of power.</param>
internal sealed class MemberDisk(string image, string mountPoint, string controlGroup, bool journal)
{
    private const int Mended = 1;
    private const long ImageBytes = 384L << 20;
    private const string BallastName = "ballast";
    private string? _throttled;
    private bool _lostPower;

    public string Path { get; } = mountPoint;

    public string DataDirectory => System.IO.Path.Combine(Path, "data");

    public bool IsMounted { get; private set; }

    public void Make()
    {
        using (FileStream file = File.Create(image))
        {
            file.SetLength(ImageBytes);
        }

        Shell.Run($"mkfs.ext4 -q -F -m 0 {(journal ? "-J size=8" : "-O ^has_journal")} {image}");
        _lostPower = false;
        Directory.CreateDirectory(Path);
        Mount();
    }

    public void Mount()
    {
        if (!IsMounted)
        {
            if (_lostPower && !journal && Shell.Try($"e2fsck -f -y {image}") is (> Mended, var said))
            {
                throw new FaultsFailedException($"e2fsck {image}: {said}");
            }

            _lostPower = false;
            Shell.Run($"mount -o loop {image} {Path}");
            IsMounted = true;
            File.Delete(System.IO.Path.Combine(Path, BallastName));
        }
    }

    /// <summary>Whoever writes there must be gone already, or will be told of a failed disk.</summary>
    public void PowerOff()
    {
        Native.PowerOff(Path);
        _lostPower = true;
    }

    /// <summary>After <see cref="PowerOff"/>, when nobody has a file open any more.</summary>
    public void Unmount()
    {
        for (int attempt = 1; IsMounted; attempt++)
        {
            (int code, string said) = Shell.Try($"umount {Path}");
            IsMounted = code != 0;
            if (IsMounted && attempt == 50)
            {
                throw new FaultsFailedException($"umount {Path}: {said}");
            }

            Thread.Sleep(IsMounted ? 100 : 0);
        }
    }

    /// <summary>Leaves this much.</summary>
    public void Fill(long bytesLeft)
    {
        using FileStream ballast = File.Create(System.IO.Path.Combine(Path, BallastName));
        byte[] block = new byte[1 << 20];
        Array.Fill(block, (byte)1);
        try
        {
            while (new DriveInfo(Path).AvailableFreeSpace is long free && free > bytesLeft)
            {
                ballast.Write(block, 0, (int)Math.Min(block.Length, free - bytesLeft));
                ballast.Flush();
            }
        }
        catch (IOException)
        {
            // Fuller than full is what was wanted.
        }
    }

    public void Empty()
    {
        if (IsMounted)
        {
            File.Delete(System.IO.Path.Combine(Path, BallastName));
        }
    }

    /// <summary>This many writes a second reach the disk.</summary>
    public void SlowDown(int writesPerSecond)
    {
        string device = Shell.Run($"findmnt -no MAJ:MIN {Path}");
        Throttle(device, writesPerSecond);
        _throttled = device;
    }

    public void SpeedUp()
    {
        if (_throttled is not null)
        {
            Throttle(_throttled, 0);
            _throttled = null;
        }
    }

    private void Throttle(string device, int writesPerSecond) => File.WriteAllText(
        System.IO.Path.Combine(controlGroup, "blkio.throttle.write_iops_device"), string.Create(CultureInfo.InvariantCulture, $"{device} {writesPerSecond}"));
}
