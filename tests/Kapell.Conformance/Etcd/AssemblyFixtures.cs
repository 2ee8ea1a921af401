using Kapell.Conformance.Etcd;
using Xunit;
using Xunit.Sdk;
using Xunit.v3;

// The tests share two stores, and the machine is small: one after another is quicker and does not fail under load.
[assembly: Parallelization(Mode = ParallelMode.None)]
[assembly: AssemblyFixture(typeof(StorePair))]
