// What etcd's own Go client builds on top of the API, against three members: locks, elections, software transactions, leased reads,
// namespaces, mirrors. Prints "ok NAME" or "not ok NAME: why" for each. Usage: clientv3 ENDPOINT,ENDPOINT,...
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
	"go.etcd.io/etcd/clientv3/leasing"
	"go.etcd.io/etcd/clientv3/mirror"
	"go.etcd.io/etcd/clientv3/namespace"
)

var endpoints []string

func dial() *clientv3.Client {
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 10 * time.Second})
	if err != nil {
		panic(err)
	}
	return client
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func equal(what string, want, got interface{}) {
	if want != got {
		panic(fmt.Sprintf("%s: want %v, got %v", what, want, got))
	}
}

func main() {
	endpoints = strings.Split(os.Args[1], ",")
	failed := false
	for _, test := range []struct {
		name string
		run  func(context.Context)
	}{
		{"a mutex lets one in at a time", mutex}, {"a mutex is free when its owner's lease ends", orphanedMutex},
		{"an election has one leader, who is observed and followed by the next", election},
		{"software transactions do not lose money", transactions}, {"a leased read is not stale", leased},
		{"a namespace is a store of its own", namespaced}, {"a mirror follows", mirrored},
		{"a watch over several keys sees each change once, in order", watched}, {"a lease that is kept alive lives, one that is not ends", leases},
		{"a large range comes in pages", paged},
	} {
		if err := guarded(test.run); err != nil {
			fmt.Printf("not ok clientv3: %s: %v\n", test.name, err)
			failed = true
		} else {
			fmt.Printf("ok clientv3: %s\n", test.name)
		}
	}
	if failed {
		os.Exit(1)
	}
}

func guarded(run func(context.Context)) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%v", cause)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	run(ctx)
	return nil
}

func mutex(ctx context.Context) {
	var wg sync.WaitGroup
	inside, most, total := 0, 0, 0
	failures := make(chan interface{}, 4)
	for i := 0; i < 4; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer func() {
				if cause := recover(); cause != nil {
					failures <- cause
				}
			}()
			client := dial()
			defer client.Close()
			session, err := concurrency.NewSession(client, concurrency.WithTTL(30))
			must(err)
			defer session.Close()
			lock := concurrency.NewMutex(session, "/lock/")
			for round := 0; round < 5; round++ {
				must(lock.Lock(ctx))
				inside++ // Guarded by the lock under test.
				if inside > most {
					most = inside
				}
				total++
				time.Sleep(time.Millisecond)
				inside--
				must(lock.Unlock(ctx))
			}
		}()
	}
	wg.Wait()
	select {
	case cause := <-failures:
		panic(cause)
	default:
	}
	equal("at once", 1, most)
	equal("in all", 20, total)
}

func orphanedMutex(ctx context.Context) {
	owner, next := dial(), dial()
	defer next.Close()
	session, err := concurrency.NewSession(owner, concurrency.WithTTL(2))
	must(err)
	must(concurrency.NewMutex(session, "/orphan/").Lock(ctx))
	owner.Close() // No goodbye: its lease runs out.
	heir, err := concurrency.NewSession(next)
	must(err)
	defer heir.Close()
	must(concurrency.NewMutex(heir, "/orphan/").Lock(ctx))
}

func election(ctx context.Context) {
	client := dial()
	defer client.Close()
	one, err := concurrency.NewSession(client)
	must(err)
	two, err := concurrency.NewSession(client)
	must(err)
	defer two.Close()
	first, second := concurrency.NewElection(one, "/chair/"), concurrency.NewElection(two, "/chair/")
	must(first.Campaign(ctx, "first"))
	observed := second.Observe(ctx)
	equal("observed", "first", string((<-observed).Kvs[0].Value))
	won := make(chan error, 1)
	go func() { won <- second.Campaign(ctx, "second") }()
	must(first.Proclaim(ctx, "first again"))
	equal("observed", "first again", string((<-observed).Kvs[0].Value))
	select {
	case <-won:
		panic("two leaders")
	case <-time.After(300 * time.Millisecond):
	}
	must(one.Close())
	must(<-won)
	leader, err := second.Leader(ctx)
	must(err)
	equal("leader", "second", string(leader.Kvs[0].Value))
	must(second.Resign(ctx))
	if _, err = second.Leader(ctx); err != concurrency.ErrElectionNoLeader {
		panic(fmt.Sprintf("after resigning: %v", err))
	}
}

func transactions(ctx context.Context) {
	// One member: reads within a transaction are of a revision that another member may not have yet, which it refuses, as etcd does.
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints[:1], DialTimeout: 10 * time.Second})
	must(err)
	defer client.Close()
	const accounts, start = 5, 100
	for i := 0; i < accounts; i++ {
		_, err := client.Put(ctx, fmt.Sprintf("/account/%d", i), strconv.Itoa(start))
		must(err)
	}
	var wg sync.WaitGroup
	failures := make(chan error, 40)
	for i := 0; i < 8; i++ {
		wg.Add(1)
		go func(i int) {
			defer wg.Done()
			for round := 0; round < 5; round++ {
				from, to := fmt.Sprintf("/account/%d", (i+round)%accounts), fmt.Sprintf("/account/%d", (i*2+round+1)%accounts)
				_, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
					a, _ := strconv.Atoi(stm.Get(from))
					stm.Put(from, strconv.Itoa(a-7))
					b, _ := strconv.Atoi(stm.Get(to))
					stm.Put(to, strconv.Itoa(b+7))
					return nil
				}, concurrency.WithAbortContext(ctx))
				if err != nil {
					failures <- err
				}
			}
		}(i)
	}
	wg.Wait()
	select {
	case err := <-failures:
		panic(err)
	default:
	}
	all, err := client.Get(ctx, "/account/", clientv3.WithPrefix())
	must(err)
	sum := 0
	for _, kv := range all.Kvs {
		value, _ := strconv.Atoi(string(kv.Value))
		sum += value
	}
	equal("sum", accounts*start, sum)
}

func leased(ctx context.Context) {
	reader, writer := dial(), dial()
	defer reader.Close()
	defer writer.Close()
	ours, closeOurs, err := leasing.NewKV(reader, "/leasing/")
	must(err)
	defer closeOurs()
	theirs, closeTheirs, err := leasing.NewKV(writer, "/leasing/")
	must(err)
	defer closeTheirs()
	_, err = theirs.Put(ctx, "/leased/k", "1")
	must(err)
	for value := 1; value <= 5; value++ {
		for i := 0; i < 3; i++ {
			got, err := ours.Get(ctx, "/leased/k")
			must(err)
			equal("read", strconv.Itoa(value), string(got.Kvs[0].Value))
		}
		_, err = theirs.Put(ctx, "/leased/k", strconv.Itoa(value+1))
		must(err)
	}
}

func namespaced(ctx context.Context) {
	client := dial()
	defer client.Close()
	kv, watcher := namespace.NewKV(client.KV, "/ns/"), namespace.NewWatcher(client.Watcher, "/ns/")
	events := watcher.Watch(ctx, "", clientv3.WithPrefix())
	_, err := client.Put(ctx, "/other", "x")
	must(err)
	_, err = kv.Put(ctx, "k", "v")
	must(err)
	event := (<-events).Events[0]
	equal("watched", "k=v", string(event.Kv.Key)+"="+string(event.Kv.Value))
	all, err := kv.Get(ctx, "a", clientv3.WithFromKey())
	must(err)
	equal("keys", 1, len(all.Kvs))
	raw, err := client.Get(ctx, "/ns/k")
	must(err)
	equal("raw", "v", string(raw.Kvs[0].Value))
}

func mirrored(ctx context.Context) {
	client := dial()
	defer client.Close()
	for i := 0; i < 50; i++ {
		_, err := client.Put(ctx, fmt.Sprintf("/mirror/%02d", i), "base")
		must(err)
	}
	syncer := mirror.NewSyncer(client, "/mirror/", 0)
	base, errors := syncer.SyncBase(ctx)
	copied := map[string]string{}
	for page := range base {
		for _, kv := range page.Kvs {
			copied[string(kv.Key)] = string(kv.Value)
		}
	}
	for err := range errors {
		must(err)
	}
	equal("base", 50, len(copied))
	updates := syncer.SyncUpdates(ctx)
	_, err := client.Put(ctx, "/mirror/00", "new")
	must(err)
	_, err = client.Delete(ctx, "/mirror/01")
	must(err)
	for seen := 0; seen < 2; {
		for _, event := range (<-updates).Events {
			seen++
			if event.Type == clientv3.EventTypeDelete {
				delete(copied, string(event.Kv.Key))
			} else {
				copied[string(event.Kv.Key)] = string(event.Kv.Value)
			}
		}
	}
	equal("copies", 49, len(copied))
	equal("first", "new", copied["/mirror/00"])
}

func watched(ctx context.Context) {
	client := dial()
	defer client.Close()
	events := client.Watch(ctx, "/watch/", clientv3.WithPrefix(), clientv3.WithPrevKV())
	const count = 200
	go func() {
		for i := 0; i < count; i++ {
			if _, err := client.Put(ctx, fmt.Sprintf("/watch/%d", i%7), strconv.Itoa(i)); err != nil {
				return
			}
		}
	}()
	previous := map[string]string{}
	var revision int64
	for next := 0; next < count; {
		response, open := <-events
		if !open || response.Err() != nil {
			panic(fmt.Sprintf("the watch ended: %v", response.Err()))
		}
		for _, event := range response.Events {
			equal("value", strconv.Itoa(next), string(event.Kv.Value))
			if event.Kv.ModRevision <= revision {
				panic("revisions do not rise")
			}
			revision = event.Kv.ModRevision
			if event.PrevKv != nil {
				equal("previous", previous[string(event.Kv.Key)], string(event.PrevKv.Value))
			}
			previous[string(event.Kv.Key)] = string(event.Kv.Value)
			next++
		}
	}
}

func leases(ctx context.Context) {
	client := dial()
	defer client.Close()
	kept, err := client.Grant(ctx, 2)
	must(err)
	left, err := client.Grant(ctx, 2)
	must(err)
	renewals, err := client.KeepAlive(ctx, kept.ID)
	must(err)
	_, err = client.Put(ctx, "/lease/kept", "", clientv3.WithLease(kept.ID))
	must(err)
	_, err = client.Put(ctx, "/lease/left", "", clientv3.WithLease(left.ID))
	must(err)
	for begun := time.Now(); time.Since(begun) < 6*time.Second; {
		if <-renewals == nil {
			panic("the lease was not kept")
		}
	}
	there, err := client.Get(ctx, "/lease/", clientv3.WithPrefix())
	must(err)
	equal("keys", 1, len(there.Kvs))
	equal("key", "/lease/kept", string(there.Kvs[0].Key))
}

func paged(ctx context.Context) {
	client := dial()
	defer client.Close()
	for i := 0; i < 120; i++ {
		_, err := client.Put(ctx, fmt.Sprintf("/page/%03d", i), "v")
		must(err)
	}
	seen, from := 0, "/page/"
	for {
		page, err := client.Get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd("/page/")), clientv3.WithLimit(50))
		must(err)
		seen += len(page.Kvs)
		if !page.More {
			break
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
	equal("keys", 120, seen)
}
