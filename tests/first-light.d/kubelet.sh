# What a pod may ask of its node.
apply <<'Y'
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {color: red, file.txt: "one"}
---
apiVersion: v1
kind: Secret
metadata: {name: sec}
stringData: {word: hush}
---
apiVersion: v1
kind: Pod
metadata: {name: k-init, labels: {a: b}, annotations: {note: hello}}
spec:
  terminationGracePeriodSeconds: 3
  shareProcessNamespace: true
  securityContext: {runAsUser: 1000, runAsGroup: 3000, fsGroup: 2000}
  initContainers:
  - {name: first, image: busybox, command: [sh, -c, "echo first > /data/order"], volumeMounts: [{name: data, mountPath: /data}]}
  - name: side
    image: busybox
    restartPolicy: Always
    command: [sh, -c, "echo side >> /data/order; trap 'echo side-ended; exit 0' TERM; while true; do sleep 0.1; done"]
    volumeMounts: [{name: data, mountPath: /data}]
    startupProbe: {exec: {command: [grep, -q, side, /data/order]}, periodSeconds: 1}
  containers:
  - name: main
    image: busybox
    command: [sh, -c, "echo main >> /data/order; trap 'exit 0' TERM; while true; do sleep 0.1; done"]
    env:
    - {name: COLOR, valueFrom: {configMapKeyRef: {name: conf, key: color}}}
    - {name: WORD, valueFrom: {secretKeyRef: {name: sec, key: word}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
    - {name: BOTH, value: "$(COLOR)-$(WORD)-$$(X)"}
    resources: {limits: {cpu: 100m, memory: 64Mi}}
    securityContext: {readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}, allowPrivilegeEscalation: false, seccompProfile: {type: RuntimeDefault}}
    lifecycle:
      postStart: {exec: {command: [sh, -c, "echo post >> /data/order"]}}
      preStop: {exec: {command: [sh, -c, "sleep 1"]}}
    volumeMounts:
    - {name: data, mountPath: /data}
    - {name: conf, mountPath: /conf}
    - {name: conf, mountPath: /sub/file.txt, subPath: file.txt}
    - {name: info, mountPath: /info}
    - {name: mem, mountPath: /mem}
  volumes:
  - {name: data, emptyDir: {}}
  - {name: mem, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: conf, configMap: {name: conf}}
  - {name: info, projected: {sources: [{downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}, {secret: {name: sec}}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: k-oom}
spec: {restartPolicy: Never, containers: [{name: a, image: busybox, command: [sh, -c, "x=a; while true; do x=$x$x$x; done"], resources: {limits: {memory: 16Mi}}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: k-crash}
spec: {containers: [{name: a, image: busybox, command: [sh, -c, "echo the end > /dev/termination-log; exit 3"]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: k-msg}
spec: {restartPolicy: Never, containers: [{name: a, image: busybox, terminationMessagePolicy: FallbackToLogsOnError, command: [sh, -c, "echo last words; exit 1"]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: k-root}
spec: {securityContext: {runAsNonRoot: true}, containers: [{name: a, image: busybox, command: [sleep, "1000"]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: k-nokey}
spec: {containers: [{name: a, image: busybox, command: [sleep, "1000"], env: [{name: X, valueFrom: {configMapKeyRef: {name: conf, key: none}}}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: k-pull}
spec: {containers: [{name: a, image: "nosuch/image:1"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: k-never}
spec: {containers: [{name: a, image: "nosuch/image:1", imagePullPolicy: Never}]}
---
apiVersion: v1
kind: Pod
metadata: {name: k-live}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: a
    image: nginx
    ports: [{name: http, containerPort: 80}]
    livenessProbe: {httpGet: {path: /nothing, port: http}, periodSeconds: 1, failureThreshold: 2}
    readinessProbe: {tcpSocket: {port: 81}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: k-host}
spec: {hostNetwork: true, terminationGracePeriodSeconds: 1, containers: [{name: a, image: busybox, command: [sleep, "1000"]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: k-port}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: nginx, ports: [{containerPort: 80, hostPort: 34777}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: k-big}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers: [{name: a, image: busybox, command: [sh, -c, "head -c 3000000 /dev/zero > /d/x; sleep 1000"], volumeMounts: [{name: d, mountPath: /d}]}]
  volumes: [{name: d, emptyDir: {sizeLimit: 1Mi}}]
---
apiVersion: v1
kind: Pod
metadata: {name: k-hostpath}
spec: {containers: [{name: a, image: busybox}], volumes: [{name: h, hostPath: {path: /etc/hostname, type: Directory}}]}
Y
soon "init containers, then sidecars, then the others" 15 "2/2 +Running" kubectl get pod k-init
want "in order, with the hook after the start" "first side (main post|post main)" bash -c 'kubectl exec k-init -c main -- cat /data/order | tr "\n" " "'
want "environment from objects, fields and resources" "^red hush $(kubectl get nodes -o jsonpath='{.items[0].metadata.name}') 100 red-hush-\\$\\(X\\)$" kubectl exec k-init -c main -- sh -c 'echo $COLOR $WORD $NODE $CPU "$BOTH"'
want "user, group and the volume's group" "uid=1000.* gid=3000.* groups=.*2000" kubectl exec k-init -c main -- id
want "a read-only root" "Read-only file system" kubectl exec k-init -c main -- touch /x
want "a volume in memory with its limit" "tmpfs +1024" kubectl exec k-init -c main -- df -k /mem
want "projected labels and secrets" 'a="b"hush' kubectl exec k-init -c main -- sh -c 'cat /info/labels /info/word'
want "containers see each other's processes" "side-ended" kubectl exec k-init -c main -- sh -c 'cat /proc/*/cmdline 2>/dev/null'
kubectl patch configmap conf --type merge -p '{"data":{"file.txt":"two"}}' >/dev/null
soon "a changed config map reaches the running pod" 75 "^two$" kubectl exec k-init -c main -- cat /conf/file.txt
want "but not a subPath of it" "^one$" kubectl exec k-init -c main -- cat /sub/file.txt
want "OOMKilled" "OOMKilled 137" field pod k-oom '.status.containerStatuses[0].state.terminated.reason} {.status.containerStatuses[0].state.terminated.exitCode'
want "termination message" "^the end" bash -c 'kubectl get pod k-crash -o jsonpath="{.status.containerStatuses[0].lastState.terminated.message}{.status.containerStatuses[0].state.terminated.message}"'
want "termination message from the log" "last words" field pod k-msg '.status.containerStatuses[0].state.terminated.message'
soon "CrashLoopBackOff in upstream's words" 30 "CrashLoopBackOff back-off (10|20|40)s restarting failed container=a pod=k-crash_default\([0-9a-f-]+\)" field pod k-crash '.status.containerStatuses[0].state.waiting.reason} {.status.containerStatuses[0].state.waiting.message'
want "a root image is refused" 'container has runAsNonRoot and image will run as root \(pod: "k-root_default\([0-9a-f-]+\)", container: a\)' field pod k-root '.status.containerStatuses[0].state.waiting.message'
want "a missing key" "CreateContainerConfigError couldn't find key none in ConfigMap default/conf" field pod k-nokey '.status.containerStatuses[0].state.waiting.reason} {.status.containerStatuses[0].state.waiting.message'
soon "ImagePullBackOff" 20 'ImagePullBackOff Back-off pulling image "nosuch/image:1": ErrImagePull' field pod k-pull '.status.containerStatuses[0].state.waiting.reason} {.status.containerStatuses[0].state.waiting.message'
want "an image that is never pulled" "ErrImageNeverPull" field pod k-never '.status.containerStatuses[0].state.waiting.reason'
want "logs of a pod whose image cannot be had" "is waiting to start: (trying and failing to pull image|image can't be pulled)" kubectl logs k-pull
soon "a failing liveness probe restarts" 20 "^[1-9]" field pod k-live '.status.containerStatuses[0].restartCount'
want "and says so" "Liveness probe failed: HTTP probe failed with statuscode: 404" kubectl describe pod k-live
want "with the kill" "Container a failed liveness probe, will be restarted" kubectl describe pod k-live
want "a failing readiness probe keeps it unready" "False" field pod k-live '.status.conditions[?(@.type=="Ready")].status'
want "the host's network" "^$(field pod k-host .status.hostIP)$" field pod k-host .status.podIP
soon "a host port" 5 "Welcome to nginx" curl -s --max-time 2 "http://$(field pod k-port .status.hostIP):34777/"
want "a hostPath of the wrong type" "hostPath type check failed: /etc/hostname is not a directory" kubectl describe pod k-hostpath
soon "an empty directory over its limit" 25 'Failed Evicted Usage of EmptyDir volume "d" exceeds the limit "1Mi"' field pod k-big '.status.phase} {.status.reason} {.status.message'
sed "s/NODE/$(kubectl get nodes -o jsonpath='{.items[0].metadata.name}')/" <<<'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"k-huge"},"spec":{"nodeName":"NODE","containers":[{"name":"a","image":"busybox","resources":{"requests":{"cpu":"500"}}}]}}' | apply
soon "a pod that was forced upon a full node" 10 "OutOfcpu Pod was rejected: Node didn't have enough resource: cpu, requested: 500000, used: [0-9]+, capacity: [0-9]+" field pod k-huge '.status.reason} {.status.message'
want "quality of service" "Burstable BestEffort" bash -c 'echo $(kubectl get pod k-init -o jsonpath={.status.qosClass}) $(kubectl get pod k-host -o jsonpath={.status.qosClass})'
check "an ephemeral container" kubectl debug k-init --image=busybox -c dbg --target=main -- sleep 100
soon "runs beside the others" 10 "running" field pod k-init '.status.ephemeralContainerStatuses[0].state'
printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: still}\nspec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: nginx}]}\n' >"$dir/manifests/still.yaml"
still=still-$(kubectl get nodes -o jsonpath='{.items[0].metadata.name}')
soon "a static pod has its image at the API server" 15 "1/1 +Running" kubectl get pod "$still"
first=$(field pod "$still" .metadata.uid)
kubectl delete pod "$still" --wait=false >/dev/null
soon "which comes back when it is deleted" 15 "1/1 +Running" bash -c "kubectl get pod $still --no-headers | grep -v Terminating; [ \"\$(kubectl get pod $still -o jsonpath={.metadata.uid})\" != $first ]"
want "and can be looked into" "nginx" kubectl exec "$still" -- ls /etc/nginx
rm "$dir/manifests/still.yaml"
eventually "and goes with its file" 15 bash -c "! kubectl get pod $still"
kubectl logs -f k-init -c side >"$dir/side.log" 2>&1 &
follower=$!
began=$(date +%s%N)
check "delete runs the hook and ends sidecars last" kubectl delete pod k-init
took=$((($(date +%s%N) - began) / 1000000))
wait $follower
want "the sidecar had its time" "side-ended" cat "$dir/side.log"
[ $took -ge 1000 ] && [ $took -lt 6000 ] && ok "in $took ms" || bad "took $took ms"
kubectl delete pod --force --grace-period=0 k-oom k-crash k-msg k-root k-nokey k-pull k-never k-live k-host k-port k-big k-hostpath k-huge >/dev/null 2>&1
kubectl delete configmap conf secret/sec >/dev/null 2>&1
kubectl delete secret sec >/dev/null 2>&1
