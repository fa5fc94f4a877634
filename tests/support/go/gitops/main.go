// What GitOps tools make of objects, said by their own code.
//
//	gitops judge EXPRESSIONS < objects.json   for each object: what kstatus says, and what Flux's health expressions say
//	gitops apply KUBECONFIG  < objects.json   apply them as Flux's kustomize-controller does
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"github.com/fluxcd/pkg/ssa"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const fluxGroup = "kustomize.toolkit.fluxcd.io"

type opinion struct {
	Kstatus status.Status `json:"kstatus"`
	Flux    status.Status `json:"flux"`
}

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, verb, argument string) error {
	objects, err := read()
	if err != nil {
		return err
	}
	if verb == "apply" {
		return apply(ctx, argument, objects)
	}
	return judge(ctx, argument, objects)
}

// read decodes as the API machinery does: whole numbers become int64, which kstatus insists on.
func read() ([]*unstructured.Unstructured, error) {
	var raw []json.RawMessage
	if err := json.NewDecoder(os.Stdin).Decode(&raw); err != nil {
		return nil, err
	}
	objects := make([]*unstructured.Unstructured, len(raw))
	for at, each := range raw {
		objects[at] = &unstructured.Unstructured{}
		if err := objects[at].UnmarshalJSON(each); err != nil {
			return nil, err
		}
	}
	return objects, nil
}

func judge(ctx context.Context, expressions string, objects []*unstructured.Unstructured) error {
	var said kustomize.HealthCheckExpressions
	if err := json.Unmarshal([]byte(expressions), &said); err != nil {
		return err
	}
	evaluator, err := cel.NewStatusEvaluator(&said)
	if err != nil {
		return err
	}
	opinions := make([]opinion, len(objects))
	for at, object := range objects {
		byKstatus, err := status.Compute(object)
		if err != nil {
			return err
		}
		byFlux, err := evaluator.Evaluate(ctx, object)
		if err != nil {
			return err
		}
		opinions[at] = opinion{Kstatus: byKstatus.Status, Flux: byFlux.Status}
	}
	return json.NewEncoder(os.Stdout).Encode(opinions)
}

// apply has the options of kustomize-controller (internal/controller/kustomization_controller.go, apply): fields that
// managers whose names begin with "kubectl" have set, and git has not, are removed.
func apply(ctx context.Context, kubeconfig string, objects []*unstructured.Unstructured) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	api, err := client.New(config, client.Options{})
	if err != nil {
		return err
	}
	owner := ssa.Owner{Field: "kustomize-controller", Group: fluxGroup}
	manager := ssa.NewResourceManager(api, nil, owner)
	manager.SetOwnerLabels(objects, "keys", "flux-system")
	options := ssa.DefaultApplyOptions()
	options.ExclusionSelector = map[string]string{fluxGroup + "/reconcile": "disabled", fluxGroup + "/ssa": "Ignore"}
	options.Cleanup = ssa.ApplyCleanupOptions{
		Annotations: []string{corev1.LastAppliedConfigAnnotation},
		FieldManagers: []ssa.FieldManager{
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationApply},
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: "before-first-apply", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: owner.Field, OperationType: metav1.ManagedFieldsOperationUpdate},
		},
		Exclusions: map[string]string{fluxGroup + "/ssa": "Merge"},
	}
	changes, err := manager.ApplyAllStaged(ctx, objects, options)
	if err != nil {
		return err
	}
	fmt.Println(changes)
	return nil
}
