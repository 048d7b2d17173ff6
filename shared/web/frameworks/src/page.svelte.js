export const page = $state({ given: null });
