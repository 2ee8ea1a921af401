# Two controller managers and two schedulers stand for election; their leaders are killed while pods are being made. No pod may be
# made or bound twice. A store and an API server of their own, without a node agent; the certificates are the cluster's.
ha=$dir/leaders && mkdir -p "$ha"
pki=$dir/pki secure=${HA_PORT:-34980}
store=$((secure + 1)) peer=$((secure + 2))
sed "s#server: https://127.0.0.1:[0-9]*#server: https://127.0.0.1:$secure#" "$dir/kubeconfig" >"$ha/admin"
for who in controller-manager scheduler; do sed "s#server: https://127.0.0.1:[0-9]*#server: https://127.0.0.1:$secure#" "$dir/conf/$who.kubeconfig" >"$ha/$who"; done
h() { kubectl --kubeconfig="$ha/admin" "$@"; }
declare -A started=()
launch() { local key=$1; shift; "$kapell" "$@" >"$ha/$key.log" 2>&1 & started[$key]=$!; }
launch etcd etcd --name=default --data-dir="$ha/etcd" --listen-client-urls=https://127.0.0.1:$store --advertise-client-urls=https://127.0.0.1:$store \
  --listen-peer-urls=https://127.0.0.1:$peer --initial-advertise-peer-urls=https://127.0.0.1:$peer --initial-cluster=default=https://127.0.0.1:$peer \
  --cert-file="$pki/etcd-server.crt" --key-file="$pki/etcd-server.key" --client-cert-auth --trusted-ca-file="$pki/etcd-ca.crt" \
  --peer-cert-file="$pki/etcd-server.crt" --peer-key-file="$pki/etcd-server.key" --peer-client-cert-auth --peer-trusted-ca-file="$pki/etcd-ca.crt"
launch apiserver apiserver --etcd-servers=https://127.0.0.1:$store --etcd-cafile="$pki/etcd-ca.crt" --etcd-certfile="$pki/apiserver-etcd-client.crt" \
  --etcd-keyfile="$pki/apiserver-etcd-client.key" --secure-port=$secure --advertise-address=127.0.0.1 --tls-cert-file="$pki/apiserver.crt" \
  --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" --service-cluster-ip-range=10.96.0.0/12 \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" --authorization-mode=Node,RBAC
eventually "leaders: a store and an API server of their own" 30 h get --raw /readyz
for node in x y; do
  h apply -f - >/dev/null <<<"{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"$node\"}}"
  h patch node $node --subresource=status --type merge -p '{"status":{"capacity":{"cpu":"100","memory":"100Gi","pods":"500"},"allocatable":{"cpu":"100","memory":"100Gi","pods":"500"},"conditions":[{"type":"Ready","status":"True","reason":"KubeletReady","lastHeartbeatTime":"2026-01-01T00:00:00Z","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}' >/dev/null
done
quick=(--leader-elect-lease-duration=4s --leader-elect-renew-deadline=3s --leader-elect-retry-period=500ms)
for who in one two; do
  launch cm-$who controller-manager --kubeconfig="$ha/controller-manager" --leader-elect-identity=$who --root-ca-file="$pki/ca.crt" --use-service-account-credentials=true "${quick[@]}"
  launch sched-$who scheduler --kubeconfig="$ha/scheduler" --leader-elect-identity=$who "${quick[@]}"
done
leader() { h get lease -n kube-system "$1" -o jsonpath='{.spec.holderIdentity}'; }
soon "leaders: one controller manager leads" 15 "^(one|two)$" leader kube-controller-manager
soon "leaders: one scheduler leads" 15 "^(one|two)$" leader kube-scheduler
eventually "leaders: the default account" 20 h get serviceaccount default
h get pods --watch-only -o jsonpath='{.metadata.name}{"\n"}' >"$ha/seen" 2>/dev/null & started[watch]=$!
sleep 0.5
h create deployment many --image=nginx --replicas=120 >/dev/null
first=$(leader kube-controller-manager) second=$(leader kube-scheduler)
eventually "leaders: pods are being made" 15 test -s "$ha/seen"
kill -9 "${started[cm-$first]}" "${started[sched-$second]}"
soon "leaders: the other controller manager takes over" 20 "^$([ "$first" = one ] && echo two || echo one)$" leader kube-controller-manager
soon "leaders: the other scheduler takes over" 20 "^$([ "$second" = one ] && echo two || echo one)$" leader kube-scheduler
eventually "leaders: all pods are made and bound" 40 bash -c "[ \"\$(kubectl --kubeconfig=$ha/admin get pods -o jsonpath='{range .items[?(@.spec.nodeName)]}{.metadata.name}{\"\\n\"}{end}' | wc -l)\" = 120 ]"
sleep 1
want "leaders: no pod was made twice" "^120$" bash -c "sort -u $ha/seen | wc -l"
want "leaders: no pod was bound twice" "^0$" bash -c "kubectl --kubeconfig=$ha/admin get events --field-selector reason=Scheduled -o jsonpath='{range .items[*]}{.involvedObject.name}{\"\\n\"}{end}' | sort | uniq -d | wc -l"
kill "${started[@]}" 2>/dev/null
wait "${started[@]}" 2>/dev/null
rm -rf "$ha"
