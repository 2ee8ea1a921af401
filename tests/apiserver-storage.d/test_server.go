// Package testserver stands in place of k8s.io/apiserver/pkg/storage/etcd3/testserver: where that one runs an etcd within the process, this
// one starts the program that ETCD_PROGRAM names, with the flags that say what the configuration says. Its log lies in ETCD_LOGS.
package testserver

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
)

const patience = 30 * time.Second

// NewTestConfig gives the configuration of a member with a folder and two ports of its own.
func NewTestConfig(t testing.TB) *embed.Config {
	cfg := embed.NewConfig()
	cfg.Dir = t.TempDir()
	if err := os.Chmod(cfg.Dir, 0700); err != nil {
		t.Fatal(err)
	}
	cfg.ListenClientUrls, cfg.ListenPeerUrls = []url.URL{freeURL(t)}, []url.URL{freeURL(t)}
	return cfg
}

func freeURL(t testing.TB) url.URL {
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return url.URL{Scheme: "http", Host: net.JoinHostPort("localhost", strconv.Itoa(listener.Addr().(*net.TCPAddr).Port))}
}

// RunEtcd starts the program, gives a client of it when it answers, and ends it with the test.
func RunEtcd(t testing.TB, cfg *embed.Config) *kubernetes.Client {
	t.Helper()
	if cfg == nil {
		cfg = NewTestConfig(t)
	}
	start(t, cfg)

	config := clientv3.Config{
		Endpoints:   []string{cfg.ListenClientUrls[0].String()},
		DialTimeout: patience,
		DialOptions: []grpc.DialOption{grpc.WithBlock()},
	}
	if cfg.ClientTLSInfo.CertFile != "" {
		tls, err := cfg.ClientTLSInfo.ClientConfig()
		if err != nil {
			t.Fatal(err)
		}
		config.TLS = tls
	}
	client, err := kubernetes.New(config)
	if err != nil {
		t.Fatalf("no connection to the member: %v", err)
	}
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if _, err = client.KV.Get(client.Ctx(), "any"); err == nil {
			break
		} else if time.Since(began) > patience {
			t.Fatalf("the member answers no read: %v", err)
		}
	}
	client.KV = storagetesting.NewKVRecorder(client.KV)
	client.Kubernetes = storagetesting.NewKubernetesRecorder(client.Kubernetes)
	return client
}

func start(t testing.TB, cfg *embed.Config) {
	client, peer := cfg.ListenClientUrls[0].String(), cfg.ListenPeerUrls[0].String()
	args := append(strings.Fields(os.Getenv("ETCD_PROGRAM")),
		"--data-dir", cfg.Dir, "--unsafe-no-fsync", "--max-request-bytes", fmt.Sprint(cfg.MaxRequestBytes),
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	if tls := cfg.ClientTLSInfo; tls.CertFile != "" {
		args = append(args, "--cert-file", tls.CertFile, "--key-file", tls.KeyFile)
		if tls.TrustedCAFile != "" {
			args = append(args, "--client-cert-auth", "--trusted-ca-file", tls.TrustedCAFile)
		}
	}
	if interval := cfg.ExperimentalWatchProgressNotifyInterval; interval != 0 {
		args = append(args, "--experimental-watch-progress-notify-interval", interval.String())
	}

	log, err := os.CreateTemp(os.Getenv("ETCD_LOGS"), "etcd")
	if err != nil {
		t.Fatal(err)
	}
	member := exec.Command(args[0], args[1:]...)
	member.Stdout, member.Stderr = log, log
	if err := member.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = member.Process.Kill()
		_ = member.Wait()
		_ = log.Close()
		if t.Failed() {
			t.Logf("log of the member: %s", log.Name())
		} else {
			_ = os.Remove(log.Name())
		}
	})
}
