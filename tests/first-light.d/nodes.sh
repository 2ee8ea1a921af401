# A node that falls silent, and one that leaves.
want "the node's lease" "$(kubectl get nodes -o jsonpath='{.items[0].metadata.name}')" kubectl get lease -n kube-node-lease
apply <<'Y'
apiVersion: v1
kind: Node
metadata: {name: ghost}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: ghost, namespace: kube-node-lease}
spec: {holderIdentity: ghost, leaseDurationSeconds: 40, renewTime: "2026-01-01T00:00:00.000000Z"}
Y
kubectl patch node ghost --subresource=status --type merge -p '{"status":{"conditions":[{"type":"Ready","status":"True","reason":"KubeletReady","message":"","lastHeartbeatTime":"2026-01-01T00:00:00Z","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}' >/dev/null
soon "a new node is greeted" 10 "Node ghost event: Registered Node ghost in Controller" kubectl get events --all-namespaces --field-selector reason=RegisteredNode
apply <<'Y'
apiVersion: v1
kind: Pod
metadata: {name: haunted}
spec:
  nodeName: ghost
  tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 3}]
  containers: [{name: a, image: nginx}]
Y
soon "a silent node turns Unknown" 75 "Unknown NodeStatusUnknown Kubelet stopped posting node status." field node ghost '.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].reason} {.status.conditions[?(@.type=="Ready")].message'
soon "and is tainted" 10 "node.kubernetes.io/unreachable:NoExecute" bash -c "kubectl describe node ghost"
soon "its pods are evicted after their patience" 20 "DeletionByTaintManager" field pod haunted '.status.conditions[?(@.type=="DisruptionTarget")].reason'
want "and marked for deletion" "^20" field pod haunted .metadata.deletionTimestamp
kubectl delete node ghost >/dev/null
eventually "with the node they are gone" 60 bash -c '! kubectl get pod haunted'
kubectl delete lease -n kube-node-lease ghost >/dev/null 2>&1
