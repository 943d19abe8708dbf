export function greeting(name: string): string;
