using Google.Protobuf;

namespace Kapell.Etcd.Server.Replication;

/// <summary>Measures what it costs to carry commands out. The commands themselves know no clock. Of the owner's thread.</summary>
internal interface IApplyTimes
{
    /// <summary>A mark of now, for <see cref="Applied"/>.</summary>
    long Begin();

    /// <summary>Since <paramref name="began"/> this request was carried out, or refused.</summary>
    void Applied(IMessage request, bool success, long began);
}
