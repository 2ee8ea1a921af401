using Kapell.Machinery;

namespace Kapell.Client.Informers;

/// <summary>
/// Objects by key, with indexes. Readers on any thread see whole objects, and each call sees one moment; two calls may see two.
/// Written by one informer loop only.
/// </summary>
public sealed class ObjectStore
{
    private readonly Lock _gate = new(); // around every field below
    private readonly Dictionary<ObjectKey, KubeObject> _objects = [];
    private readonly Dictionary<string, Index> _indexes = new(StringComparer.Ordinal);

    public int Count
    {
        get
        {
            lock (_gate)
            {
                return _objects.Count;
            }
        }
    }

    public KubeObject? Get(ObjectKey key)
    {
        lock (_gate)
        {
            return _objects.GetValueOrDefault(key);
        }
    }

    public IReadOnlyList<KubeObject> List()
    {
        lock (_gate)
        {
            return [.. _objects.Values];
        }
    }

    /// <summary>All objects of a namespace.</summary>
    public IReadOnlyList<KubeObject> List(string ns)
    {
        lock (_gate)
        {
            return [.. _objects.Values.Where(o => o.Namespace == ns)];
        }
    }

    /// <summary>The objects for which the named index function gave this value.</summary>
    public IReadOnlyList<KubeObject> ByIndex(string index, string value)
    {
        lock (_gate)
        {
            return _indexes[index].Keys.TryGetValue(value, out HashSet<ObjectKey>? keys) ? [.. keys.Select(k => _objects[k])] : [];
        }
    }

    /// <summary>Adds an index; a second one of the same name is ignored, so that sharers may each ask for it.</summary>
    public void AddIndex(string name, Func<KubeObject, IEnumerable<string>> values)
    {
        lock (_gate)
        {
            if (_indexes.ContainsKey(name))
            {
                return;
            }

            Index index = new(values);
            foreach (KubeObject o in _objects.Values)
            {
                index.Add(o);
            }

            _indexes.Add(name, index);
        }
    }

    internal KubeObject? Put(KubeObject value)
    {
        lock (_gate)
        {
            _objects.TryGetValue(value.Key, out KubeObject? old);
            _objects[value.Key] = value;
            foreach (Index index in _indexes.Values)
            {
                if (old is not null)
                {
                    index.Remove(old);
                }

                index.Add(value);
            }

            return old;
        }
    }

    internal KubeObject? Remove(ObjectKey key)
    {
        lock (_gate)
        {
            if (!_objects.Remove(key, out KubeObject? old))
            {
                return null;
            }

            foreach (Index index in _indexes.Values)
            {
                index.Remove(old);
            }

            return old;
        }
    }

    private sealed class Index(Func<KubeObject, IEnumerable<string>> values)
    {
        public Dictionary<string, HashSet<ObjectKey>> Keys { get; } = new(StringComparer.Ordinal);

        public void Add(KubeObject o)
        {
            foreach (string value in values(o))
            {
                if (!Keys.TryGetValue(value, out HashSet<ObjectKey>? keys))
                {
                    Keys.Add(value, keys = []);
                }

                keys.Add(o.Key);
            }
        }

        public void Remove(KubeObject o)
        {
            foreach (string value in values(o))
            {
                if (Keys.TryGetValue(value, out HashSet<ObjectKey>? keys) && keys.Remove(o.Key) && keys.Count == 0)
                {
                    Keys.Remove(value);
                }
            }
        }
    }
}
