# A user's session with one kubectl: KUBECTL names it, $PORT is free.
kubectl=${KUBECTL:-kubectl}
name=$(basename "$kubectl")
tag=$(tr -dc a-z0-9 <<<"$name")
u() { "$kubectl" "$@"; }
kubectl apply -f - >/dev/null <<Y
apiVersion: v1
kind: Pod
metadata: {name: two-$tag}
spec:
  terminationGracePeriodSeconds: 1
  initContainers: [{name: prep, image: busybox, command: [sh, -c, "echo prepared"]}]
  containers:
  - {name: a, image: busybox, command: [sh, -c, "i=0; while true; do echo line \$i; i=\$((i+1)); sleep 0.5; done"]}
  - {name: b, image: busybox, stdin: true, tty: true, command: [sh]}
  - {name: c, image: busybox, command: [sh, -c, "test -f /mark || { touch /mark; }; echo run; sleep 2; exit 3"]}
---
apiVersion: v1
kind: Pod
metadata: {name: idle-$tag}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: nginx}]}
Y
soon "$name: pods run" 20 "Running" field pod "idle-$tag" .status.phase
soon "$name: three containers" 20 "(2|3)/3" kubectl get pod "two-$tag"
want "$name: logs take the first container and say so" 'Defaulted container "a" out of: a, b, c, prep \(init\)' u logs "two-$tag"
want "$name: logs --tail" "^1$" bash -c "$kubectl logs two-$tag -c a --tail=1 | wc -l"
want "$name: logs --since" "^[3-6]$" bash -c "sleep 2; $kubectl logs two-$tag -c a --since=2s | wc -l"
want "$name: logs --timestamps" "^20[0-9-]+T[0-9:.]+Z line 0$" u logs "two-$tag" -c a --timestamps
want "$name: logs of an init container" "^prepared$" u logs "two-$tag" -c prep
want "$name: logs --all-containers" "prepared" u logs "two-$tag" --all-containers
want "$name: logs -f goes on" "^[3-9]$" bash -c "timeout 3 $kubectl logs -f two-$tag -c a --tail=1 | wc -l"
want "$name: logs --previous" "^run$" u logs "two-$tag" -c c --previous
want "$name: no previous container" "previous terminated container \"a\" in pod \"idle-$tag\" not found" u logs "idle-$tag" --previous
want "$name: no such container" "container nope is not valid for pod two-$tag" u logs "two-$tag" -c nope
want "$name: exec carries output" "^out$" u exec "idle-$tag" -- echo out
u exec "idle-$tag" -- sh -c 'exit 9' >/dev/null 2>&1
[ $? = 9 ] && ok "$name: exec carries the exit code" || bad "$name: exec carries the exit code"
want "$name: exec of no program" "executable file not found in \\\$PATH" u exec "idle-$tag" -- nosuchcmd
want "$name: exec with input" "^3000000$" bash -c "head -c 3000000 /dev/zero | $kubectl exec -i idle-$tag -- wc -c"
if command -v python3 >/dev/null; then
  shell=$(terminal 'stty size\n|RESIZE|stty size\n|exit 5\n' "$kubectl" exec -it "two-$tag" -c b -- sh | tr -d '\r')
  want "$name: exec -it has the terminal's size" "^30 100$" cat <<<"$shell"
  want "$name: and follows its changes" "^40 120$" cat <<<"$shell"
  want "$name: and its exit code" "\[exit 5\]" cat <<<"$shell"
  attached=$(MAX=5 terminal 'echo seen-$((40+2))\n|stty size\n' "$kubectl" attach -it "two-$tag" -c b | tr -d '\r')
  want "$name: attach" "seen-42" cat <<<"$attached"
else
  echo "skip $name: exec -it and attach need python3"
fi
head -c 2000000 /dev/urandom >"$dir/blob"
check "$name: cp in" "$kubectl" cp "$dir/blob" "two-$tag:/tmp/blob" -c a
check "$name: cp out" "$kubectl" cp "two-$tag:/tmp/blob" "$dir/blob.back" -c a
check "$name: the same file" cmp "$dir/blob" "$dir/blob.back"
"$kubectl" port-forward "idle-$tag" "$PORT:80" "$((PORT + 1)):81" >"$dir/forward" 2>&1 &
forward=$!
soon "$name: port-forward" 5 "Welcome to nginx" curl -s --max-time 2 "http://127.0.0.1:$PORT/"
want "$name: several at once" "^8$" bash -c "for i in 1 2 3 4 5 6 7 8; do curl -s --max-time 5 http://127.0.0.1:$PORT/ & done | grep -c Welcome"
curl -s --max-time 3 "http://127.0.0.1:$((PORT + 1))/" >/dev/null
sleep 0.3
want "$name: a port nobody listens on" "error forwarding port 81 to pod [0-9a-f]+, uid : .*connection refused" cat "$dir/forward"
kill $forward 2>/dev/null; wait $forward 2>/dev/null
want "$name: run -i --rm" "^in$" bash -c "echo in | $kubectl run -i --rm --restart=Never --image=busybox run-$tag --command -- sh -c 'cat; sleep 0.2'"
want "$name: describe pod" "Started container b" u describe pod "two-$tag"
want "$name: describe node" "KubeletReady +kubelet is posting ready status" u describe node
want "$name: events" "Back-off restarting failed container c" u get events --field-selector "involvedObject.name=two-$tag"
want "$name: no metrics" "Metrics API not available" u top pods
began=$(date +%s%N)
check "$name: delete --now" u delete pod "two-$tag" --now
[ $((($(date +%s%N) - began) / 1000000)) -lt 6000 ] && ok "$name: within its second" || bad "$name: delete took $((($(date +%s%N) - began) / 1000000)) ms"
want "$name: delete --force" "force deleted" u delete pod "idle-$tag" --force --grace-period=0
