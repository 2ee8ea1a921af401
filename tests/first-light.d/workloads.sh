# Controllers: each kind through its life.
node=$(kubectl get nodes -o jsonpath='{.items[0].metadata.name}')
apply <<'Y'
apiVersion: v1
kind: Secret
metadata: {name: tok, annotations: {kubernetes.io/service-account.name: default}}
type: kubernetes.io/service-account-token
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: ds}
spec:
  selector: {matchLabels: {app: ds}}
  template:
    metadata: {labels: {app: ds}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: nginx}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 3
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: nginx}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: db}
spec: {minAvailable: 3, selector: {matchLabels: {app: db}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "* * * * *"
  timeZone: Europe/Berlin
  concurrencyPolicy: Forbid
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: busybox, command: [date]}]}}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: indexed}
spec:
  completions: 4
  parallelism: 4
  completionMode: Indexed
  backoffLimitPerIndex: 0
  template: {spec: {restartPolicy: Never, terminationGracePeriodSeconds: 1, containers: [{name: main, image: busybox, command: [sh, -c, 'test $JOB_COMPLETION_INDEX -ne 2']}]}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: policy}
spec:
  podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {containerName: main, operator: In, values: [42]}}]}
  template: {spec: {restartPolicy: Never, terminationGracePeriodSeconds: 1, containers: [{name: main, image: busybox, command: [sh, -c, 'exit 42']}]}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: success}
spec:
  completions: 3
  parallelism: 3
  completionMode: Indexed
  successPolicy: {rules: [{succeededIndexes: "0"}]}
  template: {spec: {restartPolicy: Never, terminationGracePeriodSeconds: 1, containers: [{name: main, image: busybox, command: [sh, -c, 'test $JOB_COMPLETION_INDEX -eq 0 || sleep 1000']}]}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: late}
spec:
  activeDeadlineSeconds: 2
  ttlSecondsAfterFinished: 5
  template: {spec: {restartPolicy: Never, terminationGracePeriodSeconds: 1, containers: [{name: main, image: busybox, command: [sleep, "1000"]}]}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: held}
spec:
  suspend: true
  template: {spec: {restartPolicy: Never, terminationGracePeriodSeconds: 1, containers: [{name: main, image: busybox, command: [date]}]}}
Y
soon "a token secret is filled" 5 "^ey" bash -c 'kubectl get secret tok -o jsonpath="{.data.token}" | base64 -d'
server=$(kubectl config view --minify -o jsonpath='{.clusters[0].cluster.server}')
want "its token is the account's" '"username": ?"system:serviceaccount:default:default"' bash -c "curl -sk -H \"Authorization: Bearer \$(kubectl get secret tok -o jsonpath={.data.token} | base64 -d)\" -H 'Content-Type: application/json' -d '{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"SelfSubjectReview\"}' $server/apis/authentication.k8s.io/v1/selfsubjectreviews"
kubectl create serviceaccount brief >/dev/null
apply <<<'{"apiVersion":"v1","kind":"Secret","metadata":{"name":"brief","annotations":{"kubernetes.io/service-account.name":"brief"}},"type":"kubernetes.io/service-account-token"}'
kubectl delete serviceaccount brief >/dev/null
eventually "a token secret goes with its account" 10 bash -c '! kubectl get secret brief'

check "daemon set" kubectl rollout status ds/ds --timeout=30s
kubectl set env ds/ds A=1 >/dev/null
check "daemon set rolls" kubectl rollout status ds/ds --timeout=30s
want "with a history" "^2 " kubectl rollout history ds/ds
check "and back" kubectl rollout undo ds/ds
check "daemon set is back" kubectl rollout status ds/ds --timeout=30s
want "without the change" "^$" bash -c 'kubectl get pods -l app=ds -o jsonpath="{.items[0].spec.containers[0].env}"'
kubectl patch ds ds --type merge -p '{"spec":{"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1,"maxUnavailable":0}}}}' >/dev/null
check "daemon set restarts with surge" kubectl rollout restart ds/ds
check "and gets there" kubectl rollout status ds/ds --timeout=30s
kubectl patch ds ds --type merge -p '{"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}' >/dev/null
kubectl set env ds/ds B=1 >/dev/null
soon "on delete nothing moves by itself" 5 "1 +1 +1 +0 +1" kubectl get ds ds
kubectl delete pod -l app=ds >/dev/null
soon "but by a deletion" 15 "1 +1 +1 +1 +1" kubectl get ds ds

check "stateful set" kubectl rollout status sts/db --timeout=40s
want "in order" "^db-0 db-1 db-2$" bash -c 'kubectl get pods -l app=db --sort-by=.metadata.creationTimestamp -o jsonpath="{.items[*].metadata.name}"'
kubectl patch sts db --type merge -p '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":2}}}}' >/dev/null
kubectl rollout restart sts/db >/dev/null
check "stateful set rolls to its partition" kubectl rollout status sts/db --timeout=40s
want "and no further" "^(db-[a-z0-9]+) \\1 db-[a-z0-9]+$" bash -c "kubectl get pods -l app=db --sort-by=.metadata.name -o jsonpath='{.items[*].metadata.labels.controller-revision-hash}'"
want "the status names both" "^db-[a-z0-9]+ db-[a-z0-9]+ 2 1$" field sts db '.status.currentRevision} {.status.updateRevision} {.status.currentReplicas} {.status.updatedReplicas'
want "its revisions" "^2 " kubectl rollout history sts/db
soon "a budget counts" 15 "3 +N/A +0" kubectl get pdb db
want "an eviction is refused" "Cannot evict pod as it would violate the pod's disruption budget" timeout 6 kubectl drain "$node" --ignore-daemonsets --force --delete-emptydir-data --pod-selector=app=db --timeout=3s
kubectl uncordon "$node" >/dev/null
kubectl patch pdb db --type merge -p '{"spec":{"minAvailable":2}}' >/dev/null
soon "a smaller budget allows one" 5 "2 +N/A +1" kubectl get pdb db
apply <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"unused"}}'
kubectl create --raw /api/v1/namespaces/default/pods/db-0/eviction -f - >/dev/null 2>&1 <<<'{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"db-0","namespace":"default"}}' && ok "one eviction is granted" || bad "one eviction is granted"
soon "the pod comes back under its name" 20 "1/1" kubectl get pod db-0
kubectl scale sts db --replicas=1 >/dev/null
eventually "stateful set shrinks from the top" 20 bash -c '[ "$(kubectl get pods -l app=db -o name)" = pod/db-0 ]'

soon "a job per index" 25 "FailedIndexes 0,1,3 2" field job indexed '.status.conditions[?(@.type=="Failed")].reason} {.status.completedIndexes} {.status.failedIndexes'
soon "a failure policy" 15 "Container main for pod default/policy-[a-z0-9]+ failed with exit code 42 matching FailJob rule at index 0" field job policy '.status.conditions[?(@.type=="Failed")].message'
soon "a success policy" 20 "SuccessPolicy" field job success '.status.conditions[?(@.type=="Complete")].reason'
want "a suspended job" "Suspended" kubectl get job held
kubectl patch job held --type merge -p '{"spec":{"suspend":false}}' >/dev/null
soon "goes on" 15 "Complete" kubectl get job held
want "and says so" "Job resumed" kubectl describe job held
eventually "a finished job goes when its time is over" 25 bash -c '! kubectl get job late'
soon "a cron job runs, under its minute's name" 75 "^tick-[0-9]{8} +Complete" kubectl get jobs --no-headers
want "and remembers when" "^20[0-9-]+T[0-9:]+:00Z" field cronjob tick .status.lastScheduleTime
kubectl delete ds,sts,pdb,cronjobs,jobs --all >/dev/null
kubectl delete secret tok >/dev/null
kubectl delete configmap unused >/dev/null
